// What it costs to believe a request: verification of SigV4 beside the one bare HMAC-SHA256 that no verifier can do without, the whole
// authentication with its look-up of key, user, project and roles, and the decoding of signed chunks. `npm run bench -- signatures`.
import { createHmac, randomBytes } from 'node:crypto';
import { authenticateEc2, authenticateS3 } from '../../src/auth/authenticate.ts';
import { SigningKeys } from '../../src/auth/signing-keys.ts';
import { readHeaderV4, verifyV4 } from '../../src/auth/signature-v4.ts';
import { emptySha256 } from '../../src/auth/canonical-v4.ts';
import { createAuthFixture } from '../support/auth-fixture.ts';
import { signByAws4, signV2 } from '../support/signers.ts';
import { median, type BenchRow } from './row.ts';

/** The median of several rounds, in microseconds for each call. */
async function microseconds(work: () => unknown, callsEach = 4000, rounds = 7): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const startedAt = performance.now();
    for (let call = 0; call < callsEach; call += 1) await work();
    times.push(((performance.now() - startedAt) * 1000) / callsEach);
  }
  return median(times);
}

/** Each figure beside one bare HMAC of the same minute. */
export async function run(): Promise<BenchRow[]> {
  const fixture = await createAuthFixture();
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded', 'User-Agent': 'Boto3/1.26.27', 'X-Amz-Meta-A': 'b' };
  const request = signByAws4(fixture, 's3', { target: '/bucket/a%20key?partNumber=1&uploadId=2', headers });
  const query = signByAws4(fixture, 'ec2', { method: 'POST', target: '/', headers, body: 'Action=DescribeInstances&Version=2016-11-15' });
  const old = signV2(fixture, { Action: 'DescribeInstances', Version: '2014-10-01' });
  const verification = { request, payloadHash: emptySha256, paths: 'once' as const, accessKeyId: fixture.accessKeyId, secret: fixture.secretAccessKey };
  const warm = new SigningKeys();
  const verify = (signingKeys: SigningKeys) => {
    const claim = readHeaderV4(request);
    if (claim === undefined) throw new Error('the request of the benchmark is not signed');
    return verifyV4({ ...verification, claim, signingKeys });
  };
  verify(warm);
  const [key, text] = [randomBytes(32), randomBytes(100).toString('hex')];
  const bare = await microseconds(() => createHmac('sha256', key).update(text).digest('hex'));
  const kept = await microseconds(() => verify(warm));
  const derived = await microseconds(() => verify(new SigningKeys()));
  const s3 = await microseconds(() => authenticateS3(request, fixture.deps));
  const ec2 = await microseconds(() => authenticateEc2(query, fixture.deps));
  const v2 = await microseconds(() => authenticateEc2(old, fixture.deps));
  const row = (name: string, value: number): BenchRow => ({ name, value, unit: 'µs', ratio: value / bare, baseline: 'bare HMAC-SHA256' });
  return [
    row('bare HMAC-SHA256', bare),
    row('SigV4 verification, key kept', kept),
    row('SigV4 verification, key derived', derived),
    row('authenticateS3 with look-up in memory', s3),
    row('authenticateEc2 version 4 with look-up in memory', ec2),
    row('authenticateEc2 version 2 with look-up in memory', v2),
  ];
}
