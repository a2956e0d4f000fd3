// The families of regions, account, instance types, tags and STS, over a real database.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reportHost } from '../../src/db/hosts.ts';
import { images, keyPairs } from '../../src/db/schema/all.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createEc2World, type Ec2World } from '../support/ec2-world.ts';

let world: Ec2World;

beforeAll(async () => {
  world = await createEc2World();
});
afterAll(() => world.close());

const ask = async (query: string, as = world.ann) => world.call(query, as);
const texts = (xml: string, tag: string) => [...xml.matchAll(new RegExp(`<${tag}>([^<]*)</${tag}>`, 'g'))].map((match) => match[1]);
const codeOf = async (query: string, as = world.ann) => (await ask(query, as)).record.code;

describe('regions and zones', () => {
  it('the region has its endpoint as host and port', async () => {
    const { body } = await ask('Action=DescribeRegions');
    expect(texts(body, 'regionName')).toEqual(['nova']);
    expect(texts(body, 'regionEndpoint')).toEqual(['127.0.0.1:8773']);
    expect(await codeOf('Action=DescribeRegions&RegionName.1=mars')).toBe('InvalidParameterValue');
    expect(texts((await ask('Action=DescribeRegions&Filter.1.Name=region-name&Filter.1.Value.1=m*')).body, 'regionName')).toEqual([]);
  });

  it('a zone is available while an enabled host is in it', async () => {
    const host = { hypervisor: 'sim', cores: 1, memoryMiB: 1024, diskGiB: 10, bootId: 'b' };
    await reportHost(world.db, { ...host, name: 'far', zone: 'attic' }, systemClock.date());
    const { body } = await ask('Action=DescribeAvailabilityZones');
    expect(texts(body, 'zoneName')).toEqual(['attic', 'nova']);
    expect(texts(body, 'zoneState')).toEqual(['available', 'available']);
    expect(texts(body, 'zoneId')).toEqual(['attic', 'nova']);
    const filtered = 'Action=DescribeAvailabilityZones&Filter.1.Name=zone-name&Filter.1.Value.1=nova&Filter.2.Name=state&Filter.2.Value.1=available';
    expect(texts((await ask(filtered)).body, 'zoneName')).toEqual(['nova']);
    expect(await codeOf('Action=DescribeAvailabilityZones&ZoneName.1=moon')).toBe('InvalidParameterValue');
  });
});

describe('the account', () => {
  it('tells its attributes, all or those asked for', async () => {
    expect(texts((await ask('Action=DescribeAccountAttributes')).body, 'attributeName')).toContain('max-instances');
    const { body } = await ask('Action=DescribeAccountAttributes&AttributeName.1=supported-platforms');
    expect(texts(body, 'attributeValue')).toEqual(['VPC']);
    expect(await codeOf('Action=DescribeAccountAttributes&AttributeName.1=height')).toBe('InvalidParameterValue');
  });

  it('is told to whoever asks who he is', async () => {
    const { body } = await ask('Action=GetCallerIdentity&Version=2011-06-15', world.bob);
    expect(texts(body, 'Arn')).toEqual(['arn:aws:iam::444455556666:user/bob']);
    expect(texts(body, 'UserId')).toEqual([world.bob.userId]);
  });
});

describe('instance types', () => {
  it('are Nova\'s five and some of today\'s', async () => {
    const { body } = await ask('Action=DescribeInstanceTypes');
    expect(texts(body, 'instanceType')).toEqual([
      'm1.large', 'm1.medium', 'm1.small', 'm1.tiny', 'm1.xlarge', 't2.micro', 't2.nano', 't2.small', 't3.micro', 't3.nano', 't3.small',
    ]);
  });

  it('are found by name, filter and page', async () => {
    const small = (await ask('Action=DescribeInstanceTypes&InstanceType.1=m1.small')).body;
    expect(texts(small, 'sizeInMiB')).toEqual(['2048']);
    expect(texts(small, 'defaultVCpus')).toEqual(['1']);
    expect(await codeOf('Action=DescribeInstanceTypes&InstanceType.1=x9.huge')).toBe('InvalidInstanceType');
    const filtered = 'Action=DescribeInstanceTypes&Filter.1.Name=memory-info.size-in-mib&Filter.1.Value.1=1024'
      + '&Filter.2.Name=processor-info.supported-architecture&Filter.2.Value.1=x86_64';
    expect(texts((await ask(filtered)).body, 'instanceType')).toEqual(['t2.micro', 't3.micro']);
    const first = (await ask('Action=DescribeInstanceTypes&MaxResults=6')).body;
    const [token = ''] = texts(first, 'nextToken');
    expect(texts((await ask(`Action=DescribeInstanceTypes&MaxResults=6&NextToken=${encodeURIComponent(token)}`)).body, 'instanceType')).toHaveLength(5);
    expect(await codeOf('Action=DescribeInstanceTypes&MaxResults=4')).toBe('InvalidParameterValue');
  });

  it('are offered in the region and in its zones', async () => {
    const offered = async (query: string) => texts((await ask(`Action=DescribeInstanceTypeOfferings&${query}`)).body, 'location');
    expect(await offered('Filter.1.Name=instance-type&Filter.1.Value.1=t2.*')).toEqual(['nova', 'nova', 'nova']);
    expect(await offered('LocationType=availability-zone&Filter.1.Name=location&Filter.1.Value.1=elsewhere')).toEqual([]);
    expect(await codeOf('Action=DescribeInstanceTypeOfferings&LocationType=outpost')).toBe('InvalidParameterValue');
  });

  it('have no credits', async () => {
    expect((await ask('Action=DescribeInstanceCreditSpecifications')).body).toContain('<instanceCreditSpecificationSet/>');
    expect(await codeOf('Action=DescribeInstanceCreditSpecifications&InstanceId.1=i-00000000')).toBe('InvalidInstanceID.NotFound');
  });
});

describe('tags', () => {
  const key = 'key-00000001';
  const publicImage = 'ami-00000001';
  const privateImage = 'ami-00000002';

  beforeAll(async () => {
    const now = systemClock.date();
    const { projectId, userId } = world.ann;
    await world.db.insert(keyPairs).values({ id: key, projectId, userId, name: 'k', type: 'rsa', fingerprint: 'f', publicKey: 'p', createdAt: now });
    const image = {
      projectId, name: 'n', location: 'b/k', type: 'machine' as const, architecture: 'x86_64', state: 'available' as const, rootDeviceName: '/dev/vda',
      virtualizationType: 'hvm', createdAt: now, stateChangedAt: now,
    };
    await world.db.insert(images).values([{ ...image, id: publicImage, isPublic: true }, { ...image, id: privateImage }]);
  });

  const tagsSeen = async (as = world.ann) => {
    const { body } = await ask('Action=DescribeTags', as);
    const keys = texts(body, 'key');
    return texts(body, 'resourceId').map((id, index) => `${id} ${keys[index]}`);
  };

  it('are written over, read with filters, and removed by key or by value', async () => {
    expect(
      (await ask(`Action=CreateTags&ResourceId.0=${key}&ResourceId.1=${privateImage}&Tag.0.Key=Name&Tag.0.Value=one&Tag.1.Key=empty`)).body,
    ).toContain('<return>true</return>');
    await ask(`Action=CreateTags&ResourceId.1=${key}&Tag.1.Key=Name&Tag.1.Value=two`);
    expect(await tagsSeen()).toEqual([`${privateImage} Name`, `${privateImage} empty`, `${key} Name`, `${key} empty`]);
    const { body } = await ask('Action=DescribeTags&Filter.1.Name=resource-type&Filter.1.Value.1=key-pair&Filter.2.Name=key&Filter.2.Value.1=Name');
    expect(texts(body, 'value')).toEqual(['two']);
    await ask(`Action=DeleteTags&ResourceId.1=${key}&Tag.1.Key=Name&Tag.1.Value=one`);
    expect(await tagsSeen()).toContain(`${key} Name`);
    await ask(`Action=DeleteTags&ResourceId.1=${key}&Tag.1.Key=Name&Tag.1.Value=two&Tag.2.Key=empty&Tag.2.Value=`);
    await ask(`Action=DeleteTags&ResourceId.1=${privateImage}`);
    expect(await tagsSeen()).toEqual([]);
  });

  it('of a public image belong to who wrote them', async () => {
    await ask(`Action=CreateTags&ResourceId.1=${publicImage}&Tag.1.Key=mine`, world.bob);
    expect(await tagsSeen(world.bob)).toEqual([`${publicImage} mine`]);
    expect(await tagsSeen()).toEqual([]);
  });

  it.each([
    [`ResourceId.1=${privateImage}&Tag.1.Key=a`, 'InvalidAMIID.NotFound'],
    [`ResourceId.1=${key}&Tag.1.Key=a`, 'InvalidKeyPair.NotFound'],
    ['ResourceId.1=i-0badbadb&Tag.1.Key=a', 'InvalidInstanceID.NotFound'],
    ['ResourceId.1=i-x&Tag.1.Key=a', 'InvalidInstanceID.Malformed'],
    ['ResourceId.1=sg-0badbadb&Tag.1.Key=a', 'InvalidGroup.NotFound'],
    ['ResourceId.1=vol-0badbadb&Tag.1.Key=a', 'InvalidVolume.NotFound'],
    ['ResourceId.1=thing&Tag.1.Key=a', 'InvalidID'],
    [`ResourceId.1=${publicImage}&Tag.1.Key=aws%3Aa`, 'InvalidParameterValue'],
    [`ResourceId.1=${publicImage}&Tag.1.Key=${'k'.repeat(129)}`, 'InvalidParameterValue'],
    [`ResourceId.1=${publicImage}&Tag.1.Key=k&Tag.1.Value=${'v'.repeat(257)}`, 'InvalidParameterValue'],
    [`ResourceId.1=${publicImage}&Tag.1.Key=k&Tag.2.Key=k`, 'InvalidParameterValue'],
    ['ResourceId.1=ami-00000001', 'MissingParameter'],
    ['Tag.1.Key=a', 'MissingParameter'],
  ])('of another project, unknown or too long are refused: %s', async (query, code) => {
    expect(await codeOf(`Action=CreateTags&${query}`, world.bob)).toBe(code);
  });

  it('are at most fifty, and a refused request leaves none', async () => {
    const many = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `Tag.${index + 1}.Key=k${from + index}`).join('&');
    await ask(`Action=CreateTags&ResourceId.1=${key}&${many(0, 30)}`);
    expect(await codeOf(`Action=CreateTags&ResourceId.1=${key}&${many(30, 51)}`)).toBe('TagLimitExceeded');
    const both = await Promise.all([
      codeOf(`Action=CreateTags&ResourceId.1=${key}&${many(30, 45)}`), codeOf(`Action=CreateTags&ResourceId.1=${key}&${many(45, 60)}`),
    ]);
    expect(both.toSorted()).toEqual(['TagLimitExceeded', undefined]);
    expect(await tagsSeen()).toHaveLength(45);
  });
});

describe('what there is none of', () => {
  it('is an empty list, and nothing by its id or name', async () => {
    for (const kind of ['PlacementGroups', 'LaunchTemplates', 'SpotInstanceRequests', 'ReservedInstances', 'Hosts', 'BundleTasks', 'ConversionTasks']) {
      expect(await codeOf(`Action=Describe${kind}`), kind).toBeUndefined();
    }
    expect(await codeOf('Action=DescribePlacementGroups&GroupName.1=g')).toBe('InvalidPlacementGroup.Unknown');
    expect(await codeOf('Action=DescribeLaunchTemplates&LaunchTemplateName.1=t')).toBe('InvalidLaunchTemplateName.NotFoundException');
    expect(await codeOf('Action=DescribeLaunchTemplates&LaunchTemplateId.1=lt-00000001')).toBe('InvalidLaunchTemplateId.NotFound');
    expect(await codeOf('Action=DescribeConversionTasks&ConversionTaskId.1=import-i-00000001')).toBe('InvalidConversionTaskId');
  });
});
