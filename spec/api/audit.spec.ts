// The audit log has one record of each call that changes something, or was to, and none of those that read: of every action that there is, of the
// query API, of S3, of the Admin API and of `novact manage`.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adminActions } from '../../src/api/admin/index.ts';
import { recordManage } from '../../src/api/audit/manage-changes.ts';
import { allActions } from '../../src/api/ec2/actions/index.ts';
import { createManage } from '../../src/api/ops/perform-manage.ts';
import { builtOperations } from '../../src/api/s3/routes.ts';
import type { AuditRecord, AuditRow } from '../../src/db/audit.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { ApiError } from '../../src/lib/errors.ts';
import { manageCommands } from '../../src/roles/manage/index.ts';
import { createAuditLog, type AuditLog } from '../support/audit-log.ts';
import { createEc2World } from '../support/ec2-world.ts';
import { createGoldenWorld, queriesOf, type GoldenWorld } from '../support/golden.ts';
import { createPlainEc2, textsOf } from '../support/plain-ec2.ts';
import { code, projectIds, startS3, texts } from '../support/s3-server.ts';

/** Of reading, what hands out a key. */
const readsAKey = ['GetSessionToken', 'DescribeUser'];
const isReading = (action: string) => /^(Describe|Get|List|Head)/.test(action) && !readsAKey.includes(action);
const names = allActions.map(({ name }) => name).toSorted();
const actionOf = (query: string): string => /Action=(\w+)/.exec(query)?.[1] ?? '';
const outcome = (status: number) => (status < 400 ? 'done' : status < 500 ? 'refused' : 'failed');

describe('G4: of the query API', () => {
  let log: AuditLog;
  let golden: GoldenWorld;
  beforeAll(async () => {
    log = createAuditLog();
    golden = await createGoldenWorld({ audit: log.trailOf });
  });
  afterAll(async () => {
    await log.close();
    await golden.close();
  });

  it.each(names)('each call of %s, and of what its story does before, is there once if it changes something', async (name) => {
    const queries = queriesOf(readFileSync(`spec/golden/ec2/${name}.xml`, 'utf8'));
    let projectId = '';
    const text = await golden.play(queries, async ({ owner }) => void (projectId = owner.projectId));
    const statuses = [...text.matchAll(/^<!-- (\d{3}) -->$/gm)].map(([, status]) => Number(status));
    const codes = text.split(/^<!-- \d{3} -->$/m).slice(1).map((body) => /<Code>(?:\s*)([^<\s]+)/.exec(body)?.[1] ?? null);
    const told = queries.map((query, index) => ({
      action: actionOf(query), outcome: outcome(statuses[index] ?? 0), status: statuses[index], code: (statuses[index] ?? 0) < 400 ? null : codes[index],
    }));
    const wanted = told.filter(({ action }) => !isReading(action));
    const rows = await log.news();
    expect(rows.map(({ action, outcome: came, status, code: why }) => ({ action, outcome: came, status, code: why }))).toEqual(wanted);
    for (const row of rows) expect([row.projectId, row.userName?.slice(0, 5), row.requestId, row.kind]).toEqual([projectId, 'story', 'request-1', 'control']);
    expect(queries.map(actionOf)).toContain(name);
  }, 90_000);

  it('of all of them there are many that change something, and many that do not', () => {
    expect(names.filter((name) => !isReading(name)).length).toBeGreaterThan(75);
    expect(names.filter(isReading).length).toBeGreaterThan(45);
  });
});

describe('over HTTP', () => {
  let log: AuditLog;
  let url: string;
  let world: Awaited<ReturnType<typeof createEc2World>>;
  beforeAll(async () => {
    log = createAuditLog();
    world = await createEc2World({ audit: log.trailOf });
    await world.auth.addRole('ann', 'cloudadmin');
    url = await world.listen();
  });
  afterAll(async () => {
    await log.close();
    await world.close();
  });
  const as = (who: { accessKeyId: string; secretAccessKey: string }, path = '') => createPlainEc2({ url: `${url}${path}`, region: 'nova', ...who });
  const brief = ({ service, action, outcome: came, code: why, userName, accessKeyId, projectId, source, about }: AuditRow) =>
    ({ service, action, outcome: came, code: why, userName, accessKeyId, projectId, source, about });

  it('says who, from where, what of what, and what came of it, under the id that the client has', async () => {
    const made = await as(world.ann).call('CreateVolume', { Size: '1', AvailabilityZone: 'nova' });
    const volume = textsOf(made.text, 'volumeId')[0] ?? '';
    const [row] = await log.news();
    const { accessKeyId, projectId } = world.ann;
    expect(row && brief(row)).toEqual({
      service: 'ec2', action: 'CreateVolume', outcome: 'done', code: null, userName: 'ann', accessKeyId, projectId, source: '127.0.0.1', about: [volume],
    });
    expect(row?.requestId).toBe(textsOf(made.text, 'requestId')[0]);
    expect(Math.abs((row?.at.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
  });

  it('has who is refused: without the role, with a wrong signature, and with a key that is nobody\'s', async () => {
    const { bob } = world;
    const ask = (who: Parameters<typeof as>[0]) => as(who).call('CreateVolume', { Size: '1', AvailabilityZone: 'nova' });
    await ask(bob);
    await ask({ ...bob, secretAccessKey: 'wrong' });
    await ask({ ...bob, accessKeyId: 'AKIANOBODYSAAAAAAAAA' });
    const common = { service: 'ec2', action: 'CreateVolume', outcome: 'refused', source: '127.0.0.1', about: [] };
    expect((await log.news()).map(brief)).toEqual([
      { ...common, code: 'UnauthorizedOperation', userName: 'bob', accessKeyId: bob.accessKeyId, projectId: bob.projectId },
      { ...common, code: 'AuthFailure', userName: 'bob', accessKeyId: bob.accessKeyId, projectId: null },
      // What was given as an id may have been anything.
      { ...common, code: 'AuthFailure', userName: null, accessKeyId: null, projectId: null },
    ]);
  });

  it('of the Admin API: every action that changes something, and who was shown a key', async () => {
    const admin = as(world.ann, '/services/Admin');
    for (const { name } of adminActions) {
      await admin.call(name, { Name: 'nobody', User: 'ann', Project: 'none', Role: 'netadmin', ManagerUser: 'none' });
    }
    const rows = await log.news();
    expect(rows.map(({ action }) => action)).toEqual(adminActions.map(({ name }) => name).filter((name) => !isReading(name)));
    expect(new Set(rows.map(({ service }) => service))).toEqual(new Set(['admin']));
    const about = new Map(rows.map((row) => [row.action, row.about]));
    expect(about.get('RegisterUser')).toContain('nobody');
    expect(about.get('ModifyUserRole')).toEqual(expect.arrayContaining(['ann', 'netadmin', 'none']));
  });
});

describe('of S3', () => {
  const bodies: Readonly<Record<string, string>> = {
    PutObjectTagging: '<Tagging><TagSet></TagSet></Tagging>',
    PostObject: '--B\r\nContent-Disposition: form-data; name="key"\r\n\r\nkey\r\n'
      + '--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--B--\r\n',
  };

  it('each operation that changes something is there once, of the owner and of a stranger, and none that reads', async () => {
    const log = createAuditLog();
    const s3 = await startS3({ audit: log.trailOf });
    const told: { action: string; outcome: string; code: string | null; projectId: string | null; about: string[] }[] = [];
    for (const { name, method, of, query, headers } of builtOperations()) {
      for (const as of ['one', 'two', 'none']) {
        const bucket = of === 'service' ? '' : name === 'CreateBucket' ? `made-by-${as}` : 'shop';
        if (as === 'one') await s3.ask({ method: 'PUT', path: '/shop' });
        await log.news();
        const target = `/${bucket}${of === 'object' ? '/key' : ''}?${query === 'uploadId' ? 'partNumber=1&uploadId=none' : query}`;
        const reply = await s3.ask({
          method, path: target, as, body: bodies[name] ?? '',
          headers: { ...headers, ...(name === 'PostObject' ? { 'content-type': 'multipart/form-data; boundary=B' } : {}) },
        });
        const rows = await log.news();
        const isHere = !isReading(name) && name !== 'Preflight';
        expect(rows.map(({ action }) => action), `${name} by ${as}: ${code(reply)}`).toEqual(isHere ? [name] : []);
        const [row] = rows;
        if (row === undefined) continue;
        expect([row.outcome, row.code ?? '', row.status]).toEqual([outcome(reply.status), texts(reply.body, 'Code')[0] ?? '', reply.status]);
        expect([row.projectId, row.source, row.service]).toEqual([projectIds[as] ?? null, '127.0.0.1', 's3']);
        expect(row.requestId).toBe(reply.headers['x-amz-request-id']);
        expect(row.about[0]).toBe(bucket);
        if (of === 'object' || (name === 'PostObject' && as === 'one')) expect(row.about[1]).toBe(`${bucket}/key`);
        expect(row.kind, name).toBe(as === 'none' || of === 'object' || ['PostObject', 'DeleteObjects'].includes(name) ? 'data' : 'control');
        told.push(row);
      }
    }
    expect(new Set(told.map(({ outcome: came }) => came))).toEqual(new Set(['done', 'refused']));
    await log.close();
    await s3.close();
  }, 90_000);

  it('who is not believed is there with what was asked for; what is no operation is not', async () => {
    const log = createAuditLog();
    const s3 = await startS3({ audit: log.trailOf });
    await s3.ask({ method: 'PUT', path: '/shop/key', as: 'liar', body: 'x' });
    await s3.ask({ method: 'GET', path: '/shop/key', as: 'liar' });
    await s3.ask({ method: 'PATCH', path: '/shop/key', as: 'liar' });
    await s3.ask({ method: 'PUT', path: '/%ff%zz', as: 'liar' });
    const rows = await log.news();
    expect(rows.map(({ action, code: why, userId, about }) => [action, why, userId, about]))
      .toEqual([['PutObject', 'SignatureDoesNotMatch', null, ['shop', 'shop/key']]]);
    await log.close();
    await s3.close();
  });
});

describe('of novact manage', () => {
  /** All that only read, and show no secret. */
  const reading = [
    'audit list', 'authority crl', 'authority issued', 'authority show', 'certificate list', 'config list', 'db sync', 'db version', 'deadletters list',
    'deadletters show', 'fixed list', 'floating list', 'host list', 'host resources', 'host show', 'image list', 'image show', 'image tasks', 'instance list',
    'instance show', 'instance-type list', 'logs errors',
    'logs request', 'network list', 'project list', 'quota show', 'role has', 'role list', 'service list', 'user blocked', 'user keys',
    'user list', 'vm list', 'volume hosts', 'volume list', 'vpn certificates', 'vpn list',
  ];

  it('every command that changes something, or shows a secret, is there once, whatever came of it', async () => {
    const records: AuditRecord[] = [];
    const trail = { record: async (record: AuditRecord) => void records.push(record) };
    let answer = (): unknown => 'done';
    const commands = manageCommands.map((command) => ({ ...command, run: async () => answer() }));
    const perform = recordManage(createManage(commands, {} as never), { trail, clock: systemClock, host: 'h1' });
    for (const { category, verb, positional } of manageCommands) {
      records.length = 0;
      const args = Object.fromEntries(positional.map((name) => [name, name === 'enabled' ? 'yes' : '7']));
      const done = await perform({ category, verb, args, by: 'ann' });
      expect(records.map(({ action, service, userName, source, requestId }) => ({ action, service, userName, source, requestId })))
        .toEqual(reading.includes(`${category} ${verb}`) ? []
          : [{ action: `${category} ${verb}`, service: 'manage', userName: 'ann', source: 'h1', requestId: done.requestId }]);
    }
    expect(reading.filter((name) => !manageCommands.some(({ category, verb }) => `${category} ${verb}` === name))).toEqual([]);
    records.length = 0;
    const thrown = [new ApiError('NoSuchEntity', 'There is no such user.', 404), new Error('a bug')];
    answer = () => { throw thrown.shift(); };
    for (const name of ['carl', 'dora']) await perform({ category: 'user', verb: 'delete', args: { name } });
    await perform({ category: 'user', verb: 'delete', args: {} });
    expect(records.map(({ outcome: came, code: why, about, userName }) => [came, why, about, userName])).toEqual([
      ['refused', 'NoSuchEntity', ['carl'], null], ['failed', 'Error', ['dora'], null], ['refused', 'ValidationError', [], null],
    ]);
  });
});
