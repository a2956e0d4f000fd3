// No secret is in the audit log, in the log of the process or in an error: every way in which one may come with a request, also by mistake.
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { recordManage } from '../../src/api/audit/manage-changes.ts';
import type { Answer } from '../../src/api/ec2/dispatch.ts';
import { createManage } from '../../src/api/ops/perform-manage.ts';
import { createS3Server } from '../../src/api/s3/server.ts';
import { authenticateS3 } from '../../src/auth/authenticate.ts';
import type { SignedRequest } from '../../src/auth/request.ts';
import type { AuditTrail } from '../../src/db/audit.ts';
import { MemoryStore } from '../../src/drivers/objectstore/memory.ts';
import { manageCommands } from '../../src/roles/manage/index.ts';
import type { ManageDeps } from '../../src/roles/manage/deps.ts';
import { createAuditLog, type AuditLog } from '../support/audit-log.ts';
import { fixtureNow, standingClock } from '../support/auth-fixture.ts';
import { createEc2World, type Ec2World } from '../support/ec2-world.ts';
import { amplyS3 } from '../support/s3-server.ts';
import { signByAws4, signV2 } from '../support/signers.ts';

const lines: string[] = [];
const log = pino({ level: 'trace' }, { write: (text: string) => void lines.push(text) });
const clock = standingClock(fixtureNow);
let audit: AuditLog;
let trail: AuditTrail;
let world: Ec2World;
let s3: ReturnType<typeof createS3Server>;
let s3Url: string;

/** Long enough to be found, and with a mark, so that parts of one are found too. */
const secret = (what: string): string => `5ecret-${what}-mark5ecret`;
const answers: string[] = [];

beforeAll(async () => {
  audit = createAuditLog({ log });
  world = await createEc2World({ clock, log, audit: (db) => (trail = audit.trailOf(db)) });
  s3 = createS3Server({
    db: world.db, store: new MemoryStore({ clock }), clock, log, region: 'nova', quotas: amplyS3, audit: trail, authority: world.auth,
    authenticate: (request) => authenticateS3(request, { auth: world.auth, clock }),
  });
  s3Url = `http://127.0.0.1:${await s3.listen('127.0.0.1', 0)}`;
});
afterAll(async () => {
  await s3.close({ graceMs: 100 });
  await audit.close();
  await world.close();
});

const form = (action: string, parameters: Record<string, string>) => ({
  method: 'POST', target: '/', headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
  body: new URLSearchParams({ Action: action, Version: '2016-11-15', ...parameters }).toString(),
});
async function ask(request: SignedRequest): Promise<Answer> {
  const answer = await world.signed.dispatch(request, 'request-1', '192.0.2.1');
  answers.push(answer.body);
  return answer;
}
const asAnn = (action: string, parameters: Record<string, string>) => ask(signByAws4(world.ann, 'ec2', form(action, parameters)));
async function put(path: string, options: RequestInit = {}): Promise<number> {
  const response = await fetch(`${s3Url}${path}`, { method: 'PUT', body: 'x', ...options });
  answers.push(await response.text());
  return response.status;
}

/** What was sent that nobody but the sender may know. */
async function sendSecrets(): Promise<string[]> {
  const sent = ['userdata', 'keymaterial', 'password', 'tag', 'idplace', 'query', 'token', 'signature', 'form', 'pem', 'manage', 'unknown'].map(secret);
  const [userData = '', material = '', password = '', tag = '', inIdsPlace = '', inQuery = '', token = '', signature = '', inForm = '', pem = '', own = '',
    unknown = ''] = sent;
  // Refused and not: what is in them must not be told in either case.
  await asAnn('RunInstances', { ImageId: 'ami-00000000000000001', MinCount: '1', MaxCount: '1', UserData: Buffer.from(userData).toString('base64') });
  await asAnn('RunInstances', { ImageId: userData, MinCount: '1', MaxCount: '1', UserData: userData });
  await asAnn('ImportKeyPair', { KeyName: 'k', PublicKeyMaterial: Buffer.from(material).toString('base64') });
  await asAnn('ModifyInstanceAttribute', { InstanceId: 'i-00000000000000001', 'UserData.Value': Buffer.from(userData).toString('base64') });
  await asAnn('CreateTags', { 'ResourceId.1': 'i-00000000000000001', 'Tag.1.Key': 'password', 'Tag.1.Value': tag });
  await asAnn('CreateVolume', { Size: '1', AvailabilityZone: 'nova', Password: password, AdminPassword: password, [unknown]: unknown });
  // Id and secret exchanged, as happens when they are copied.
  for (const key of [{ accessKeyId: inIdsPlace, secretAccessKey: 'x' }, { accessKeyId: world.ann.secretAccessKey, secretAccessKey: world.ann.accessKeyId }]) {
    await ask(signByAws4(key, 'ec2', form('CreateKeyPair', { KeyName: 'k' })));
    await ask(signV2(key, { Action: 'CreateKeyPair', KeyName: 'k', Version: '2010-08-31' }));
    await put(`/bucket/key?AWSAccessKeyId=${encodeURIComponent(key.accessKeyId)}&Expires=1900000000&Signature=${signature}`);
    await put('/bucket/key', { headers: { authorization: `AWS ${key.accessKeyId}:${signature}`, date: new Date(fixtureNow).toUTCString() } });
  }
  const known = world.ann.accessKeyId;
  await put(`/bucket/key?AWSAccessKeyId=${known}&Expires=1900000000&Signature=${signature}&own=${inQuery}`);
  await put(`/bucket/key?AWSAccessKeyId=${known}&Expires=1900000000&Signature=${signature}&x-amz-security-token=${token}&own=${inQuery}`);
  await put(`/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${known}/20261122/nova/s3/aws4_request&X-Amz-Date=20261122T140754Z&X-Amz-Expires=60`
    + `&X-Amz-SignedHeaders=host&X-Amz-Signature=${'ab'.repeat(32)}&X-Amz-Security-Token=${token}`);
  const date = new Date(fixtureNow).toUTCString();
  await put('/bucket/key', { headers: { 'x-amz-security-token': token, authorization: `AWS ${known}:${signature}`, date } });
  const boundary = 'B';
  const field = (name: string, value: string) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
  await put('/bucket', {
    method: 'POST', headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    body: `${field('key', 'key')}${field('AWSAccessKeyId', known)}${field('policy', inForm)}${field('signature', signature)}`
      + `${field('x-amz-security-token', token)}--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--${boundary}--\r\n`,
  });
  const manage = recordManage(createManage(manageCommands, { ...world, clock, log } as unknown as ManageDeps), { trail, clock, host: 'h1' });
  const user = { category: 'user', verb: 'create', args: { name: 'carl', access: 'IDcarl', secret: own } };
  for (const wanted of [user, user]) answers.push(JSON.stringify(await manage(wanted)));
  answers.push(JSON.stringify(await manage({ category: 'certificate', verb: 'add', args: { project: 'ann', pem } })));
  return [...sent, world.ann.secretAccessKey, world.bob.secretAccessKey, 'ab'.repeat(32)];
}

it('A13: secrets that come with requests are in no record, no line of the log, and no error', async () => {
  const sent = await sendSecrets();
  // Those that the cloud makes are shown once, to whoever asked.
  const made = await asAnn('CreateKeyPair', { KeyName: 'made' });
  const session = await ask(signByAws4(world.ann, 'sts', form('GetSessionToken', { Version: '2011-06-15' })));
  const first = (text: string, element: string) => new RegExp(`<${element}>([^<]+)`).exec(text)?.[1];
  const shown = [first(made.body, 'keyMaterial'), first(session.body, 'SecretAccessKey'), first(session.body, 'SessionToken')];
  expect(shown).not.toContain(undefined);
  const rows = await audit.news();
  const [table, written] = [JSON.stringify(rows), lines.join('')];
  for (const one of [...sent, ...shown.map(String)]) {
    for (const part of [one, Buffer.from(one).toString('base64'), encodeURIComponent(one)]) {
      expect(table, one).not.toContain(part);
      expect(written, one).not.toContain(part);
    }
  }
  expect(table).not.toContain('mark5ecret');
  expect(written).not.toContain('mark5ecret');
  // Whose key was named by who could not sign with it is known.
  const mismatched = rows.find(({ code }) => code === 'SignatureDoesNotMatch');
  expect(mismatched).toMatchObject({ service: 's3', userName: 'ann', accessKeyId: world.ann.accessKeyId, projectId: null });
  // Nor did what was looked through say nothing: each of them is there.
  expect(rows.length).toBeGreaterThan(20);
  expect(new Set(rows.map(({ action }) => action))).toEqual(new Set([
    'RunInstances', 'ImportKeyPair', 'ModifyInstanceAttribute', 'CreateTags', 'CreateVolume', 'CreateKeyPair', 'PutObject', 'PostObject', 'user create',
    'certificate add', 'GetSessionToken',
  ]));
  expect(new Set(rows.map(({ outcome }) => outcome))).toEqual(new Set(['done', 'refused']));
});

it('A13: what is answered says no secret again, but of S3 the path that was asked for', () => {
  const secrets = answers.join('\n').match(/5ecret-[a-z]+-mark5ecret/g) ?? [];
  // AWS names the value that is no image id, to whoever sent it; and a new key is told with its secret, once.
  expect(new Set(secrets)).toEqual(new Set([secret('userdata'), secret('manage')]));
});
