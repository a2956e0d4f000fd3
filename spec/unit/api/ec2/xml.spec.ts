import { describe, expect, it } from 'vitest';
import { findOperation } from '../../../../src/api/ec2/model.ts';
import { escapeText, safeVersion, writeError, writeResponse } from '../../../../src/api/ec2/xml.ts';

function write(action: string, output: unknown, version = '2016-11-15') {
  const operation = findOperation(action);
  if (operation === undefined) throw new Error(action);
  return writeResponse(operation, output, { requestId: 'r-1', version });
}

describe('an answer', () => {
  it('begins with the request id, in the namespace of the version asked for', () => {
    expect(write('DescribeRegions', { Regions: [] }, '2014-10-01')).toBe(
      '<?xml version="1.0" encoding="UTF-8"?>\n<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2014-10-01/">'
      + '<requestId>r-1</requestId><regionInfo/></DescribeRegionsResponse>',
    );
  });

  it('of an action without output is true', () => {
    expect(write('RebootInstances', undefined)).toContain('<return>true</return>');
  });

  it('says true where AWS does, without the handler saying so', () => {
    expect(write('AuthorizeSecurityGroupIngress', {})).toContain('<return>true</return>');
    expect(write('AuthorizeSecurityGroupIngress', { Return: false })).toContain('<return>false</return>');
  });

  it('cuts times to whole seconds', () => {
    expect(write('CreateVolume', { CreateTime: new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678)) })).toContain('<createTime>2026-01-02T03:04:05.000Z</createTime>');
  });

  it('has lists last: boto 2 takes the end of an item of one for the end of what it is in', () => {
    const vpc = { VpcId: 'vpc-1', CidrBlockAssociationSet: [{ AssociationId: 'a', CidrBlockState: { State: 'associated' } }], State: 'available', Tags: [] };
    const written = write('DescribeVpcs', { Vpcs: [vpc] });
    expect([...written.matchAll(/<(vpcId|state|cidrBlockAssociationSet|tagSet|associationId|cidrBlockState)\b/g)].map(([, tag]) => tag))
      .toEqual(['vpcId', 'state', 'cidrBlockAssociationSet', 'associationId', 'cidrBlockState', 'state', 'tagSet']);
  });

  it('that does not fit the model is a bug, not XML', () => {
    expect(() => write('CreateVolume', { Size: 'ten' })).toThrow(TypeError);
    expect(() => write('DescribeRegions', { Regions: {} })).toThrow(TypeError);
  });

  it('of STS has its own form', () => {
    expect(write('GetCallerIdentity', { Account: '1', Arn: 'a', UserId: 'u' })).toBe(
      '<?xml version="1.0" encoding="UTF-8"?>\n<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
      + '<GetCallerIdentityResult><UserId>u</UserId>'
      + '<Account>1</Account><Arn>a</Arn></GetCallerIdentityResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>',
    );
  });
});

describe('text', () => {
  it.each([
    ['a<b>&"\'', 'a&lt;b&gt;&amp;"\''],
    ['tab\tand\nline', 'tab\tand\nline'],
    ['\r', '&#13;'],
    ['\u0000\u001b\u000b', '\ufffd\ufffd\ufffd'],
    ['\u0085', '&#133;'],
    ['\ud800x\ufffe', '\ufffdx\ufffd'],
    ['😀漢ü', '😀漢ü'],
    [']]>', ']]&gt;'],
  ])('%j is safe', (text, safe) => {
    expect(escapeText(text)).toBe(safe);
  });
});

it('a version that is no version is not echoed', () => {
  expect(safeVersion('"><script>')).toBe('2016-11-15');
  expect(safeVersion(undefined)).toBe('2016-11-15');
  expect(safeVersion('1.0')).toBe('1.0');
});

it('errors have the form of their service', () => {
  const error = { code: 'InvalidAction', message: 'a < b', requestId: 'r-1', isSender: true };
  expect(writeError('ec2', error)).toContain(
    '<Response><Errors><Error><Code>InvalidAction</Code><Message>a &lt; b</Message></Error></Errors><RequestID>r-1</RequestID></Response>',
  );
  expect(writeError('sts', error)).toContain('<Error><Type>Sender</Type><Code>InvalidAction</Code>');
});
