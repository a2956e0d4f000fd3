// The table of the audit log: what may be in a record, how it is looked for, and how it is kept small.
import { sql } from 'drizzle-orm';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rotateAudit } from '../../src/actors/audit/rotate.ts';
import { createManage } from '../../src/api/ops/perform-manage.ts';
import { insertAuditRecords, rotateAuditRecords, selectAuditRecords, type AuditRecord } from '../../src/db/audit.ts';
import { auditRecords } from '../../src/db/schema/audit.ts';
import { rowsOf } from '../../src/db/db.ts';
import { expandWords } from '../../src/cli/manage.ts';
import { silentLog } from '../../src/lib/log.ts';
import { manageCommands } from '../../src/roles/manage/index.ts';
import type { ManageDeps } from '../../src/roles/manage/deps.ts';
import { standingClock } from '../support/auth-fixture.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const now = Date.UTC(2026, 10, 30, 12);
const hour = 3_600_000;
let database: TestDatabase;

beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.close());

const record = (more: Partial<AuditRecord> = {}): AuditRecord => ({
  at: new Date(now), kind: 'control', service: 'ec2', action: 'RunInstances', outcome: 'done', code: null, status: 200, requestId: 'r', userId: 'AIDA1',
  userName: 'ann', accessKeyId: 'AKIA1', projectId: '111122223333', source: '192.0.2.1', about: [], isProven: true, ...more,
});
const insert = (...records: AuditRecord[]) => insertAuditRecords(database.db, records);
const count = async (): Promise<number> => Number(rowsOf(await database.db.execute(sql`select count(*) as n from audit_records`))[0]?.['n']);

describe('a record', () => {
  it('takes any text, without what a terminal would obey, and no more of it than has room', async () => {
    const text = fc.string({ unit: 'binary', maxLength: 400 });
    await fc.assert(fc.asyncProperty(fc.array(fc.record({ name: text, about: fc.array(text, { maxLength: 30 }) }), { maxLength: 5 }), async (given) => {
      await insert(...given.map(({ name, about }) => record({ userName: name, source: name, action: name, requestId: name, about })));
    }), { numRuns: 60 });
    await insert(record({ userName: '\u001b[2Jann\0\ud800', about: Array.from({ length: 50 }, (_, index) => `i-${index}`), action: 'x'.repeat(1_000) }));
    const rows = await selectAuditRecords(database.db, { limit: 1_000 });
    // oxlint-disable-next-line no-control-regex
    expect(rows.filter((row) => /[\u0000-\u001f\u007f-\u009f]/.test(JSON.stringify(Object.values(row))))).toEqual([]);
    expect(rows[0]).toMatchObject({ userName: '\ufffd[2Jann\ufffd\ufffd', action: 'x'.repeat(256) });
    expect(rows[0]?.about).toHaveLength(20);
  });
});

describe('novact manage audit list', () => {
  const list = async (args: Record<string, unknown> = {}): Promise<readonly Record<string, unknown>[]> => {
    const shop = { id: '111122223333', name: 'shop' };
    const auth = { project: async (name: string) => (name === 'shop' ? shop : undefined), projects: async () => [shop] };
    const perform = createManage(manageCommands, { db: database.db, auth, clock: standingClock(now) } as unknown as ManageDeps);
    const answer = await perform({ category: 'audit', verb: 'list', args });
    if (answer.outcome !== 'done') throw new Error(answer.message);
    return answer.result as Record<string, unknown>[];
  };
  const ids = async (args: Record<string, unknown>) => (await list(args)).map(({ requestId }) => requestId);

  beforeEach(() => insert(
    record({ requestId: 'r1', at: new Date(now - 3 * hour) }),
    record({ requestId: 'r2', at: new Date(now - 2 * hour), userName: 'bob', userId: 'AIDA2', projectId: '444455556666', accessKeyId: 'AKIA2' }),
    record({ requestId: 'r3', at: new Date(now - hour), service: 's3', action: 'PutObject', kind: 'data', about: ['shop', 'shop/a b'], source: '192.0.2.2' }),
    record({ requestId: 'r4', outcome: 'refused', code: 'AuthFailure', status: 401 }),
    record({
      requestId: 'r5', service: 'manage', action: 'user create', status: null, userId: null, userName: 'root', projectId: null, source: 'h1',
      outcome: 'failed',
    }),
  ));

  it('shows the last ones, the oldest of them first, with projects by name', async () => {
    expect(await ids({})).toEqual(['r1', 'r2', 'r3', 'r4', 'r5']);
    expect((await list({ count: 3 })).map(({ requestId, project, about, at }) => [requestId, project, about, at])).toEqual([
      ['r3', 'shop', 'shop shop/a b', '2026-11-30T11:00:00.000Z'], ['r4', 'shop', '', '2026-11-30T12:00:00.000Z'],
      ['r5', '', '', '2026-11-30T12:00:00.000Z'],
    ]);
    const [first] = await list({ count: 3 });
    expect(await ids({ count: 3, before: first?.['id'] })).toEqual(['r1', 'r2']);
  });

  it.each([
    [{ user: 'bob' }, ['r2']], [{ user: 'AIDA2' }, ['r2']], [{ project: 'shop' }, ['r1', 'r3', 'r4']], [{ project: '444455556666' }, ['r2']],
    [{ project: 'none' }, []], [{ accessKey: 'AKIA2' }, ['r2']], [{ source: '192.0.2.2' }, ['r3']], [{ service: 'manage' }, ['r5']],
    [{ action: 'putobject' }, ['r3']], [{ action: 'user create' }, ['r5']], [{ outcome: 'refused' }, ['r4']], [{ outcome: 'failed' }, ['r5']],
    [{ code: 'AuthFailure' }, ['r4']], [{ request: 'r3' }, ['r3']], [{ about: 'shop' }, ['r3']], [{ about: 'shop/a b' }, ['r3']], [{ about: "'; drop" }, []],
    [{ since: '150m' }, ['r2', 'r3', 'r4', 'r5']], [{ until: '90m' }, ['r1', 'r2']], [{ since: '2026-11-30T10:00Z', until: '2026-11-30T11:00:00Z' }, ['r2']],
    [{ user: 'ann', outcome: 'done', since: '1d' }, ['r1', 'r3']],
  ])('with %j: those alone', async (args, wanted) => {
    expect(await ids(args)).toEqual(wanted);
  });

  it('refuses what is no time, no outcome and no number', async () => {
    for (const args of [{ since: 'yesterday' }, { until: '5' }, { outcome: 'good' }, { count: 0 }, { count: 1e6 }, { service: 'x' }]) {
      await expect(list(args)).rejects.toThrow();
    }
  });

  it('may be shortened as all commands may', () => {
    expect(expandWords(['aud', 'l', '--json'], manageCommands)).toEqual(['audit', 'list', '--json']);
  });
});

describe('rotation', () => {
  const day = 24 * hour;
  const rotate = (more: Partial<Parameters<typeof rotateAudit>[0]> = {}) => rotateAudit({
    db: database.db, clock: standingClock(now), log: silentLog, days: 90, rowsMax: 1_000_000, objectRowsMax: 1_000_000, ...more,
  });
  const left = async () => (await database.db.select().from(auditRecords).orderBy(auditRecords.id)).map(({ requestId }) => requestId);

  it('removes what is too old', async () => {
    await insert(record({ requestId: 'old', at: new Date(now - 91 * day) }), record({ requestId: 'young', at: new Date(now - 89 * day) }));
    await rotate();
    expect(await left()).toEqual(['young']);
    await rotate({ days: 10 });
    expect(await left()).toEqual([]);
  });

  it('keeps of each kind the newest, so that no number of objects takes the room of what the cloud was told', async () => {
    for (const round of [1, 2, 3]) {
      await insert(record({ requestId: `c${round}` }), ...Array.from({ length: 50 }, (_, index) => record({ kind: 'data', requestId: `d${round}.${index}` })));
    }
    await rotate({ rowsMax: 3, objectRowsMax: 2 });
    expect(await left()).toEqual(['c1', 'c2', 'c3', 'd3.48', 'd3.49']);
    await rotate({ rowsMax: 1, objectRowsMax: 0 });
    expect(await left()).toEqual(['c3']);
  });

  it('goes in bounded statements, as many as it may, and on the next time', async () => {
    for (let round = 0; round < 5; round += 1) await insert(...Array.from({ length: 200 }, () => record({ at: new Date(now - 100 * day) })));
    const limits = { olderThan: new Date(now - 90 * day), rowsMax: { control: 10, data: 10 }, batch: 100, batchesMax: 4 };
    expect(await rotateAuditRecords(database.db, limits)).toBe(400);
    expect(await count()).toBe(600);
    expect(await rotateAuditRecords(database.db, { ...limits, batchesMax: 50 })).toBe(600);
    expect(await rotateAuditRecords(database.db, limits)).toBe(0);
  });

  it('of two at once removes nothing twice, and nothing too much', async () => {
    for (let round = 0; round < 5; round += 1) await insert(...Array.from({ length: 200 }, (_, index) => record({ requestId: `${round * 200 + index}` })));
    await Promise.all([rotate({ rowsMax: 10 }), rotate({ rowsMax: 10 })]);
    expect(await left()).toEqual(Array.from({ length: 10 }, (_, index) => `${990 + index}`));
  });
});
