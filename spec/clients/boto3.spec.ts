// What today's programs do by Debian's boto3, against the whole product: waiters, pages, filters, tags, tokens, DryRun, errors as botocore
// reads them; and a smoke of S3 by boto3, s3cmd and awscli. Guests are containers.
import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClientError, openBoto3, s3cmd, type Boto3 } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { expectNoLeftovers, hostLeftovers, rowLeftovers } from '../support/leftovers.ts';
import { waitUntil } from '../support/patience.ts';
import { createSecondProject } from '../support/second-project.ts';

interface Instance {
  readonly InstanceId: string;
  readonly State: { readonly Name: string };
  readonly PrivateIpAddress?: string;
  readonly ClientToken?: string;
}
interface Reservations {
  readonly Reservations: readonly { readonly ReservationId: string; readonly Instances: readonly Instance[] }[];
  readonly NextToken?: string;
}

let cloud: CloudProcess;
let boto3: Boto3;
let stranger: Boto3;
let imageId: string;
const ec2 = <T = Record<string, unknown>>(method: string, parameters: Record<string, unknown> = {}) => boto3.call<T>('ec2', method, parameters);
const idsOf = (answer: Reservations) => answer.Reservations.flatMap(({ Instances }) => Instances.map((instance) => instance.InstanceId));
const launch = async (parameters: Record<string, unknown> = {}) =>
  ec2<{ ReservationId: string; Instances: Instance[] }>('run_instances', {
    ImageId: imageId, InstanceType: 't2.nano', MinCount: 1, MaxCount: 1, ...parameters,
  });
/** botocore's default is a look every 15 seconds. */
const quick = { WaiterConfig: { Delay: 1, MaxAttempts: 60 } };

beforeAll(async () => {
  cloud = await startCloudProcess('clients-boto3', { guests: 'lxc' });
  boto3 = openBoto3(cloud);
  stranger = openBoto3(cloud, await createSecondProject(cloud, 'stranger'));
  const { Images } = await ec2<{ Images: { ImageId: string }[] }>('describe_images', { Filters: [{ Name: 'name', Values: ['novact-tiny'] }] });
  imageId = Images[0]?.ImageId ?? '';
});
afterAll(async () => {
  await boto3?.close();
  await stranger?.close();
  await cloud?.down();
});
onFailureShow(() => cloud);

describe('boto3 with real guests', () => {
  it('runs five, waits, pages, filters by tag, and terminates them', async () => {
    const launched = await launch({
      MinCount: 5, MaxCount: 5, TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'role', Value: 'web' }] }],
    });
    const ids = launched.Instances.map((instance) => instance.InstanceId);
    await ec2('wait:instance_running', { InstanceIds: ids, ...quick });
    await ec2('wait:instance_status_ok', { InstanceIds: ids, ...quick });

    const status = await ec2<{ InstanceStatuses: { InstanceState: { Name: string } }[] }>('describe_instance_status', { InstanceIds: ids });
    expect(status.InstanceStatuses.map((one) => one.InstanceState.Name)).toEqual(['running', 'running', 'running', 'running', 'running']);
    await ec2('create_tags', { Resources: [ids[0], ids[1]], Tags: [{ Key: 'colour', Value: 'deep green' }] });
    const found = async (...filters: { Name: string; Values: string[] }[]) =>
      idsOf(await ec2<Reservations>('describe_instances', { Filters: filters })).toSorted();
    expect(await found({ Name: 'tag:colour', Values: ['deep*'] })).toEqual(ids.slice(0, 2).toSorted());
    expect(await found({ Name: 'tag:colour', Values: ['deep green'] }, { Name: 'instance-state-name', Values: ['stopped'] })).toEqual([]);
    expect(await found({ Name: 'tag:role', Values: ['db', 'web'] }, { Name: 'image-id', Values: [imageId] })).toEqual(ids.toSorted());
    await ec2('delete_tags', { Resources: [ids[0]], Tags: [{ Key: 'colour' }] });
    const { Tags } = await ec2<{ Tags: { ResourceId: string; Value: string }[] }>('describe_tags', { Filters: [{ Name: 'key', Values: ['colour'] }] });
    expect(Tags.map((tag) => [tag.ResourceId, tag.Value])).toEqual([[ids[1], 'deep green']]);

    const more = await Promise.all([launch(), launch(), launch(), launch(), launch()]);
    const all = [...ids, ...more.flatMap(({ Instances }) => Instances.map((instance) => instance.InstanceId))];
    const pages = await ec2<Reservations[]>('paginate:describe_instances', { PaginationConfig: { PageSize: 5 } });
    expect(pages.length).toBeGreaterThan(1);
    expect(pages.flatMap(idsOf).toSorted()).toEqual(all.toSorted());

    await ec2('stop_instances', { InstanceIds: [all[0]], Force: true });
    await ec2('wait:instance_stopped', { InstanceIds: [all[0]], ...quick });
    await ec2('terminate_instances', { InstanceIds: all });
    await ec2('wait:instance_terminated', { InstanceIds: all, ...quick });
    await expectNoLeftovers(cloud);
  });

  it('gives all ten guests of a moment an address of their own, and none twice', async () => {
    const reservations = await Promise.all(Array.from({ length: 5 }, () => launch({ MinCount: 2, MaxCount: 2 })));
    const ids = reservations.flatMap(({ Instances }) => Instances.map((instance) => instance.InstanceId));
    await ec2('wait:instance_running', { InstanceIds: ids, ...quick });
    const shown = await ec2<Reservations>('describe_instances', { InstanceIds: ids });
    const addresses = shown.Reservations.flatMap(({ Instances }) => Instances.map((instance) => instance.PrivateIpAddress));
    expect(new Set(addresses).size).toBe(10);
    expect(addresses.every((address) => /^10\.45\.\d+\.\d+$/.test(address ?? ''))).toBe(true);
    await ec2('terminate_instances', { InstanceIds: ids });
    await ec2('wait:instance_terminated', { InstanceIds: ids, ...quick });
    await expectNoLeftovers(cloud);
  });

  it('launches once for one client token, though it is asked five times at once', async () => {
    const token = randomBytes(8).toString('hex');
    const answers = await Promise.all(Array.from({ length: 5 }, () => launch({ ClientToken: token })));
    expect(new Set(answers.map((answer) => answer.ReservationId)).size).toBe(1);
    const id = answers[0]?.Instances[0]?.InstanceId;
    expect(idsOf(await ec2<Reservations>('describe_instances', { Filters: [{ Name: 'client-token', Values: [token] }] }))).toEqual([id]);
    await expect(launch({ ClientToken: token, InstanceType: 't2.micro' })).rejects.toMatchObject({ code: 'IdempotentParameterMismatch', status: 400 });
    await ec2('terminate_instances', { InstanceIds: [id] });
    await ec2('wait:instance_terminated', { InstanceIds: [id], ...quick });
  });

  it('is looked over by a check for leftovers that sees a running instance in every place', async () => {
    const { Instances: [instance] } = await launch();
    const id = instance?.InstanceId ?? '';
    await ec2('wait:instance_running', { InstanceIds: [id], ...quick });
    await waitUntil('it has a lease', { timeoutMs: 60_000 }, async () => (await hostLeftovers(cloud)).leases.length > 0);
    const database = await cloud.openDatabase();
    const { operations, unsettled, outbox, attachments, ...rows } = await rowLeftovers(database); // it has no volume
    await database.close();
    const seen = { ...(await hostLeftovers(cloud)), ...rows };
    expect(Object.entries(seen).filter(([, list]) => list.length === 0)).toEqual([]);
    expect(seen.domains).toEqual([id]);
    expect([...operations, ...unsettled, ...outbox, ...attachments]).toEqual([]);
    await ec2('terminate_instances', { InstanceIds: [id] });
    await ec2('wait:instance_terminated', { InstanceIds: [id], ...quick });
    await expectNoLeftovers(cloud);
  });

  it('terminates an instance in the middle of its launch', async () => {
    const { Instances: [instance] } = await launch();
    await ec2('terminate_instances', { InstanceIds: [instance?.InstanceId] });
    await ec2('wait:instance_terminated', { InstanceIds: [instance?.InstanceId], ...quick });
    await expectNoLeftovers(cloud);
  });

  it('keeps an instance that may not be terminated, and terminates one whose guest powers off if that is wished', async () => {
    const { Instances: [instance] } = await launch({
      DisableApiTermination: true, InstanceInitiatedShutdownBehavior: 'terminate', UserData: '#!/bin/sh\n/sbin/poweroff\n',
    });
    const InstanceIds = [instance?.InstanceId];
    await expect(ec2('terminate_instances', { InstanceIds })).rejects.toMatchObject({ code: 'OperationNotPermitted' });
    // For botocore's waiter, pending is a failure to terminate.
    await waitUntil('it is no longer pending', { timeoutMs: 60_000 }, async () =>
      (await ec2<Reservations>('describe_instances', { InstanceIds })).Reservations[0]?.Instances[0]?.State.Name !== 'pending');
    await ec2('wait:instance_terminated', { InstanceIds, ...quick });
    const shown = await ec2<{ Reservations: { Instances: { StateReason: { Code: string } }[] }[] }>('describe_instances', { InstanceIds });
    expect(shown.Reservations[0]?.Instances[0]?.StateReason.Code).toBe('Client.InstanceInitiatedShutdown');
    await expectNoLeftovers(cloud);
  });

  it('shows no project the instances of another', async () => {
    const { Instances: [instance] } = await launch();
    const InstanceIds = [instance?.InstanceId];
    expect(await stranger.call<Reservations>('ec2', 'describe_instances')).toMatchObject({ Reservations: [] });
    for (const method of ['describe_instances', 'terminate_instances', 'stop_instances', 'reboot_instances']) {
      await expect(stranger.call('ec2', method, { InstanceIds })).rejects.toMatchObject({ code: 'InvalidInstanceID.NotFound', status: 400 });
    }
    await expect(stranger.call('ec2', 'get_console_output', { InstanceId: InstanceIds[0] })).rejects.toMatchObject({ code: 'InvalidInstanceID.NotFound' });
    await ec2('terminate_instances', { InstanceIds });
    await ec2('wait:instance_terminated', { InstanceIds, ...quick });
  });
});

describe('errors, as botocore reads them', () => {
  const run = (more: Record<string, unknown>) => () => launch(more);
  const call = (method: string, parameters: Record<string, unknown>) => () => ec2(method, parameters);
  const table: readonly (readonly [string, () => Promise<unknown>, string, number])[] = [
    ['DryRun of a launch that would work', run({ DryRun: true }), 'DryRunOperation', 412],
    ['a launch of an image that is not there', run({ ImageId: 'ami-0123456789abcdef0' }), 'InvalidAMIID.NotFound', 400],
    ['a launch of nonsense', run({ ImageId: 'nonsense' }), 'InvalidAMIID.Malformed', 400],
    ['an unknown type', run({ InstanceType: 'm9.huge' }), 'InvalidParameterValue', 400],
    ['an unknown key', run({ KeyName: 'nobody' }), 'InvalidKeyPair.NotFound', 400],
    ['an unknown group', run({ SecurityGroups: ['nobody'] }), 'InvalidGroup.NotFound', 400],
    ['an unknown zone', run({ Placement: { AvailabilityZone: 'mars' } }), 'InvalidParameterValue', 400],
    ['more than one asked for at least', run({ MinCount: 2, MaxCount: 1 }), 'InvalidParameterValue', 400],
    ['an instance that is not there', call('describe_instances', { InstanceIds: ['i-0123456789abcdef0'] }), 'InvalidInstanceID.NotFound', 400],
    ['an instance id that is none', call('stop_instances', { InstanceIds: ['i-xyz'] }), 'InvalidInstanceID.Malformed', 400],
    ['an unknown filter', call('describe_instances', { Filters: [{ Name: 'shoe-size', Values: ['42'] }] }), 'InvalidParameterValue', 400],
    ['a page token of nobody', call('describe_instances', { NextToken: 'nonsense', MaxResults: 5 }), 'InvalidNextToken', 400],
    ['a key pair twice', async () => {
      await ec2('create_key_pair', { KeyName: 'twice' });
      return ec2('create_key_pair', { KeyName: 'twice' });
    }, 'InvalidKeyPair.Duplicate', 400],
    ['a rule twice', async () => {
      const rule = { GroupName: 'default', IpProtocol: 'tcp', FromPort: 81, ToPort: 81, CidrIp: '10.0.0.0/8' };
      await ec2('authorize_security_group_ingress', rule);
      return ec2('authorize_security_group_ingress', rule);
    }, 'InvalidPermission.Duplicate', 400],
    ['the default group deleted', call('delete_security_group', { GroupName: 'default' }), 'CannotDelete', 400],
    ['an image of an object that is not there', call('register_image', { Name: 'none', ImageLocation: 'nowhere/none.img' }), 'InvalidManifest', 400],
    ['something that is not built', call('create_vpc', { CidrBlock: '10.0.0.0/16' }), 'UnsupportedOperation', 400],
  ];
  it.each(table)('%s', async (_what, refused, code, status) => {
    const error = await refused().then(() => undefined, (reason: unknown) => reason);
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({ code, status });
  });

  it('keys that are wrong', async () => {
    const own = { accessKeyId: cloud.environment['AWS_ACCESS_KEY_ID'] ?? '', secretAccessKey: cloud.environment['AWS_SECRET_ACCESS_KEY'] ?? '' };
    const nobody = openBoto3(cloud, { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: own.secretAccessKey });
    const wrong = openBoto3(cloud, { accessKeyId: own.accessKeyId, secretAccessKey: `${own.secretAccessKey}x` });
    await expect(nobody.call('ec2', 'describe_instances')).rejects.toMatchObject({ code: 'AuthFailure', status: 401 });
    await expect(wrong.call('ec2', 'describe_instances')).rejects.toMatchObject({ code: 'AuthFailure', status: 401 });
    await expect(wrong.call('sts', 'get_caller_identity')).rejects.toMatchObject({ code: 'SignatureDoesNotMatch', status: 403 });
    await expect(wrong.call('s3', 'list_buckets')).rejects.toMatchObject({ code: 'SignatureDoesNotMatch', status: 403 });
    await expect(nobody.call('sts', 'get_caller_identity')).rejects.toMatchObject({ code: 'InvalidClientTokenId', status: 403 });
    await expect(nobody.call('s3', 'list_buckets')).rejects.toMatchObject({ code: 'InvalidAccessKeyId', status: 403 });
    await Promise.all([nobody.close(), wrong.close()]);
  });
});

describe('a smoke of S3 against the running product', () => {
  const s3 = <T = Record<string, unknown>>(method: string, parameters: Record<string, unknown>) => boto3.call<T>('s3', method, parameters);

  it('boto3 puts, lists and gets odd keys', async () => {
    await s3('create_bucket', { Bucket: 'odd-keys' });
    const keys = ['../x', 'a//b', 'ü%2F', 'with space+plus', 'folder/', 'k'.repeat(1024)];
    for (const Key of keys) await s3('put_object', { Bucket: 'odd-keys', Key, Body: Buffer.from(Key).toString('base64') });
    const { Contents } = await s3<{ Contents: { Key: string }[] }>('list_objects_v2', { Bucket: 'odd-keys' });
    expect(Contents.map(({ Key }) => Key).toSorted()).toEqual(keys.toSorted());
    for (const Key of keys) {
      const { Body } = await s3<{ Body: string }>('get_object', { Bucket: 'odd-keys', Key });
      expect(Buffer.from(Body, 'base64').toString()).toBe(Key);
      await s3('delete_object', { Bucket: 'odd-keys', Key });
    }
    await s3('delete_bucket', { Bucket: 'odd-keys' });
  });

  it('s3cmd and awscli carry 20 MB in parts, each what the other put', async () => {
    const content = randomBytes(20 * 1024 * 1024 + 3);
    const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(cloud.folder, 'large'), content);
    const aws = (...args: readonly string[]) =>
      cloud.run('/usr/bin/aws', ['--endpoint-url', cloud.environment['AWS_ENDPOINT_URL_S3'] ?? '', 's3', ...args, '--only-show-errors'], { timeoutMs: 60_000 });
    await s3cmd(cloud, 'mb', 's3://large');
    await s3cmd(cloud, 'put', '--multipart-chunk-size-mb=5', join(cloud.folder, 'large'), 's3://large/by s3cmd');
    await aws('cp', join(cloud.folder, 'large'), 's3://large/by aws');
    await aws('cp', 's3://large/by s3cmd', join(cloud.folder, 'back-1'));
    await s3cmd(cloud, 'get', 's3://large/by aws', join(cloud.folder, 'back-2'));
    for (const name of ['back-1', 'back-2']) expect(sha(await readFile(join(cloud.folder, name)))).toBe(sha(content));
    await expect(stranger.call('s3', 'get_object', { Bucket: 'large', Key: 'by aws' })).rejects.toMatchObject({ code: 'AccessDenied', status: 403 });
    await s3cmd(cloud, 'rb', '--recursive', '--force', 's3://large');
  });
});
