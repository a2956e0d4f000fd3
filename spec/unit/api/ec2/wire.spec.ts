import { describe, expect, it } from 'vitest';
import { findOperation } from '../../../../src/api/ec2/model.ts';
import { parseParameters, readInput } from '../../../../src/api/ec2/wire.ts';

function read(action: string, query: string) {
  const operation = findOperation(action);
  if (operation === undefined) throw new Error(action);
  return readInput(operation, parseParameters('', query));
}

const input = (action: string, query: string) => read(action, query).input;

describe('parameters', () => {
  it('of query and body are one, the body first', () => {
    expect([...parseParameters('A=1&B=2', 'B=3&C=a%20b+c%2B')]).toEqual([['B', '3'], ['C', 'a b c+'], ['A', '1']]);
    expect(() => parseParameters('', 'A=%00')).toThrow('NUL');
  });

  it.each(['A=%', 'A=%zz', 'A=%ff', '%c3=1'])('that are not URL-encoded UTF-8 are refused: %s', (query) => {
    expect(() => parseParameters(query, '')).toThrow(expect.objectContaining({ code: 'MalformedQueryString' }));
  });

  it('are bounded in number, length of name and depth', () => {
    const many = Array.from({ length: 10_001 }, (_, index) => `A.${index}=1`).join('&');
    for (const query of [many, `${'a'.repeat(600)}=1`]) {
      expect(() => parseParameters(query, '')).toThrow(expect.objectContaining({ code: 'MalformedQueryString' }));
    }
    expect(() => input('DescribeInstances', `A${'.1'.repeat(12)}=1`)).toThrow(expect.objectContaining({ code: 'MalformedQueryString' }));
  });
});

describe('lists', () => {
  it.each([
    ['from 1', 'InstanceId.1=a&InstanceId.2=b'],
    ['from 0, as fog counts', 'InstanceId.0=a&InstanceId.1=b'],
    ['with gaps and out of order', 'InstanceId.10=b&InstanceId.9=a'],
  ])('%s', (_, query) => {
    expect(input('DescribeInstances', query)['InstanceIds']).toEqual(['a', 'b']);
  });

  it('take a bare value as their only one', () => {
    expect(input('TerminateInstances', 'InstanceId=i-1')['InstanceIds']).toEqual(['i-1']);
  });

  it('of structures nest', () => {
    const query = 'Filter.1.Name=tag%3Aa&Filter.1.Value.1=x&Filter.1.Value.2=&Filter.3.Name=key-name&Filter.3.Value.0=y';
    expect(input('DescribeInstances', query)['Filters']).toEqual([{ Name: 'tag:a', Values: ['x', ''] }, { Name: 'key-name', Values: ['y'] }]);
  });
});

describe('old clients', () => {
  it('may send a scalar as a list: boto 2 asks for a console so', () => {
    expect(input('GetConsoleOutput', 'InstanceId.1=i-1&InstanceId.0=i-0')['InstanceId']).toBe('i-0');
  });

  it('may register an image without a name', () => {
    expect(input('RegisterImage', 'ImageLocation=b%2Fk')).toEqual({ ImageLocation: 'b/k' });
  });

  it('use the flat form of rules, and the nested one', () => {
    const flat = input('AuthorizeSecurityGroupIngress', 'GroupName=default&IpProtocol=tcp&FromPort=22&ToPort=22&CidrIp=0.0.0.0%2F0');
    expect(flat).toEqual({ GroupName: 'default', IpProtocol: 'tcp', FromPort: 22, ToPort: 22, CidrIp: '0.0.0.0/0' });
    const nested = input(
      'AuthorizeSecurityGroupIngress',
      'GroupId=sg-1&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0%2F8&IpPermissions.1.Groups.1.UserId=1',
    );
    expect(nested['IpPermissions']).toEqual([{ IpProtocol: 'tcp', IpRanges: [{ CidrIp: '10.0.0.0/8' }], UserIdGroupPairs: [{ UserId: '1' }] }]);
  });

  it('send names that the model does not know: they are ignored and told', () => {
    const { input: known, ignored } = read(
      'DescribeInstances', 'Action=DescribeInstances&Version=1&AWSAccessKeyId=k&Signature=s&DisplayName=x&Nested.1.Thing=y',
    );
    expect(known).toEqual({});
    expect(ignored).toEqual(['DisplayName', 'Nested']);
  });
});

describe('values', () => {
  const run = (extra: string) => input('RunInstances', `ImageId=ami-1&MinCount=1&MaxCount=1&${extra}`);

  it.each(['abc', '1.5', '1e3', '0x10', '9999999999999999', ' 1', 'True'])('that are no integer are refused by name: %s', (text) => {
    expect(() => input('RunInstances', `MinCount=1&MaxCount=${encodeURIComponent(text)}`)).toThrow(
      expect.objectContaining({ code: 'InvalidParameterValue', message: expect.stringContaining('MaxCount') }),
    );
  });

  it('are not guessed: 010 is ten, and a name stays text', () => {
    expect(input('RunInstances', 'MinCount=010&MaxCount=1&KeyName=0123')).toMatchObject({ MinCount: 10, KeyName: '0123' });
  });

  it('that are no boolean are refused by their whole name', () => {
    expect(() => run('Monitoring.Enabled=yes')).toThrow(expect.objectContaining({ message: expect.stringContaining('Monitoring.Enabled') }));
    expect(run('Monitoring.Enabled=True&EbsOptimized=false')).toMatchObject({ Monitoring: { Enabled: true }, EbsOptimized: false });
  });

  it('may be empty texts, but no empty numbers', () => {
    expect(run('Placement.AvailabilityZone=&Ipv6AddressCount=')).toMatchObject({ Placement: { AvailabilityZone: '' } });
    expect(run('Ipv6AddressCount=')).not.toHaveProperty('Ipv6AddressCount');
  });

  it('that are no time or no base64 are refused', () => {
    expect(() => input('DescribeSpotPriceHistory', 'StartTime=yesterday')).toThrow(expect.objectContaining({ code: 'InvalidParameterValue' }));
    expect(input('DescribeSpotPriceHistory', 'StartTime=2026-01-31T12%3A00%3A00Z')['StartTime']).toEqual(new Date(Date.UTC(2026, 0, 31, 12)));
    expect(() => input('ImportKeyPair', 'KeyName=k&PublicKeyMaterial=ssh-rsa+AAAA')).toThrow(expect.objectContaining({ code: 'InvalidParameterValue' }));
  });

  it('of a structure must have members', () => {
    expect(() => run('Placement=nova')).toThrow(expect.objectContaining({ code: 'InvalidParameterValue' }));
  });

  it('cannot reach the prototype', () => {
    const hostile = input('DescribeInstances', '__proto__.polluted=1&constructor.prototype.polluted=1&toString=x');
    expect(Object.keys(hostile)).toEqual([]);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(hostile['toString']).toBeUndefined();
  });

  it('that are long are cut in the message', () => {
    expect(() => input('RunInstances', `MinCount=${'x'.repeat(5000)}&MaxCount=1`)).toThrow(
      expect.objectContaining({ message: expect.not.stringMatching(/x{100}/) }),
    );
  });
});

describe('required members', () => {
  it.each([
    ['TerminateInstances', '', 'InstanceId.1'],
    ['CreateKeyPair', '', 'KeyName'],
    ['CreateKeyPair', 'KeyName=', 'KeyName'],
    ['CreateSecurityGroup', 'GroupName=a', 'GroupDescription'],
    ['CreateTags', 'ResourceId.1=i-1', 'Tag.1'],
  ])('%s %s is told the name of the missing one', (action, query, name) => {
    expect(() => input(action, query)).toThrow(
      expect.objectContaining({ code: 'MissingParameter', message: `The request must contain the parameter ${name}` }),
    );
  });
});
