// Unmodified clients against the server in this process, with real signatures: Debian's aws command and boto 2, where they are installed.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEc2World, type Ec2World } from '../support/ec2-world.ts';

const run = promisify(execFile);
let world: Ec2World;
let url: string;

beforeAll(async () => {
  world = await createEc2World();
  url = await world.listen();
});
afterAll(() => world.close());

const environment = () => ({
  PATH: '/usr/bin:/bin', HOME: '/nonexistent', AWS_ACCESS_KEY_ID: world.ann.accessKeyId, AWS_SECRET_ACCESS_KEY: world.ann.secretAccessKey,
  AWS_DEFAULT_REGION: 'nova', AWS_MAX_ATTEMPTS: '1', AWS_EC2_METADATA_DISABLED: 'true', AWS_PAGER: '',
});

async function aws(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await run('/usr/bin/aws', ['--endpoint-url', url, '--output', 'json', ...args], { env: environment(), timeout: 60_000 });
  return stdout === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>);
}

const awsFailure = (...args: string[]): Promise<string> => aws(...args).then(() => 'no failure', (error: { stderr?: string }) => error.stderr ?? String(error));

const hasAws = existsSync('/usr/bin/aws');
if (!hasAws) process.stderr.write('skipped: /usr/bin/aws is not installed (apt-get install awscli)\n');

describe.skipIf(!hasAws)('the aws command', () => {
  it('sees regions, zones and types, and who it is', async () => {
    expect(await aws('ec2', 'describe-regions')).toEqual({ Regions: [{ Endpoint: '127.0.0.1:8773', OptInStatus: 'opt-in-not-required', RegionName: 'nova' }] });
    expect(await aws('ec2', 'describe-availability-zones')).toMatchObject({ AvailabilityZones: [{ State: 'available', ZoneName: 'nova', Messages: [] }] });
    const { InstanceTypes: types } = await aws('ec2', 'describe-instance-types', '--page-size', '5');
    expect(types).toHaveLength(11);
    expect(await aws('sts', 'get-caller-identity')).toEqual({ UserId: world.ann.userId, Account: '111122223333', Arn: 'arn:aws:iam::111122223333:user/ann' });
  }, 120_000);

  it('is told what is wrong in its own words', async () => {
    expect(await awsFailure('ec2', 'describe-fleets')).toContain('(UnsupportedOperation)');
    expect(await awsFailure('ec2', 'describe-regions', '--dry-run')).toContain('(DryRunOperation)');
    expect(
      await awsFailure('ec2', 'describe-regions', '--filters', 'Name=nonsense,Values=x'),
    ).toMatch(/\(InvalidParameterValue\) .*: The filter 'nonsense' is invalid/);
    expect(await awsFailure('ec2', 'create-tags', '--resources', 'i-0badbadb', '--tags', 'Key=a,Value=b')).toContain('(InvalidInstanceID.NotFound)');
  }, 120_000);
});

const botoScript = `
import sys
import boto
from boto.ec2.connection import EC2Connection
from boto.ec2.regioninfo import RegionInfo
from boto.exception import EC2ResponseError

class SignedV2(EC2Connection):
    def _required_auth_capability(self):
        return ['ec2']

port, key, secret = int(sys.argv[1]), sys.argv[2], sys.argv[3]
region = RegionInfo(name='nova', endpoint='127.0.0.1')
for kind in (EC2Connection, SignedV2):
    for path in ('/', '/services/Cloud'):
        connection = kind(key, secret, is_secure=False, port=port, path=path, region=region)
        print([r.name for r in connection.get_all_regions()], [(z.name, z.state) for z in connection.get_all_zones()])
        print([(a.attribute_name, a.attribute_values) for a in connection.describe_account_attributes(['supported-platforms'])])
        try:
            connection.create_tags(['i-0badbadb'], {'a': 'b'})
        except EC2ResponseError as error:
            print(error.status, error.error_code)
try:
    EC2Connection(key, 'wrong', is_secure=False, port=port, path='/', region=region).get_all_regions()
except EC2ResponseError as error:
    print(error.status, error.error_code)
`;

const hasBoto = existsSync('/usr/lib/python3/dist-packages/boto/__init__.py');
if (!hasBoto) process.stderr.write('skipped: boto 2 is not installed (apt-get install python3-boto)\n');

it.skipIf(!hasBoto)('boto 2, with signatures of version 4 and 2, at both paths', async () => {
  const args = ['-c', botoScript, new URL(url).port, world.ann.accessKeyId, world.ann.secretAccessKey];
  const { stdout } = await run('/usr/bin/python3', args, { env: environment(), timeout: 60_000 });
  const lines = stdout.trim().split('\n');
  expect(lines).toHaveLength(13);
  for (let index = 0; index < 12; index += 3) {
    expect(lines[index]).toBe("['nova'] [('nova', 'available')]");
    expect(lines[index + 1]).toBe("[('supported-platforms', ['VPC'])]");
    expect(lines[index + 2]).toBe('400 InvalidInstanceID.NotFound');
  }
  expect(lines[12]).toBe('401 AuthFailure');
}, 120_000);
