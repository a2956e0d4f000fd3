// The writer of the audit log when things go wrong: a database that is away, slow or full, too much at once, and the end of a process.
import type { SQL } from 'drizzle-orm';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startAuditWriter, type AuditWriter } from '../../../src/actors/audit/writer.ts';
import { createActorSystem } from '../../../src/actors/runtime/system.ts';
import type { ActorSystem } from '../../../src/actors/runtime/actor.ts';
import type { AuditRecord } from '../../../src/db/audit.ts';
import type { Db } from '../../../src/db/db.ts';
import { createManualClock } from '../../support/manual-clock.ts';
import { until } from '../../support/waiting.ts';

type Row = { readonly requestId: string };

let clock: ReturnType<typeof createManualClock>;
let system: ActorSystem;
let writer: AuditWriter;
let batches: string[][];
let lines: Record<string, unknown>[];
/** What the database does with a batch. */
let insert: (rows: readonly Row[]) => Promise<void>;

/** The one value of the statement. */
const rowsIn = (chunks: readonly unknown[]): readonly Row[] => {
  const value = chunks.find((chunk) => typeof chunk === 'string');
  return (JSON.parse(String(value)) as readonly { readonly request_id: string }[]).map((row) => ({ requestId: row.request_id }));
};

const kept = async (rows: readonly Row[]): Promise<void> => void batches.push(rows.map(({ requestId }) => requestId));
const failed = Object.assign(new Error('Failed query: insert … params: all of it'), { query: '', cause: new Error('it is away') });
const away = (): Promise<void> => Promise.reject(failed);

function start(options: { hasObjects?: boolean; waitingMax?: number } = {}): void {
  const db = { execute: ({ queryChunks }: SQL) => insert(rowsIn(queryChunks)) } as unknown as Db;
  const log = pino({ level: 'info' }, { write: (text: string) => void lines.push(JSON.parse(text) as Record<string, unknown>) });
  system = createActorSystem({ name: 'audit-writer', clock, log, onFatal: (error) => { throw error; } });
  writer = startAuditWriter({ db, clock, log, system, hasObjects: true, ...options });
}

beforeEach(() => {
  [clock, batches, lines, insert] = [createManualClock(), [], [], kept];
  start();
});
afterEach(() => system.stop(1_000));

const change = (requestId: string, more: Partial<AuditRecord> = {}): AuditRecord => ({
  at: clock.date(), kind: 'control', service: 'ec2', action: 'RunInstances', outcome: 'done', code: null, status: 200, requestId, userId: null, userName: 'ann',
  accessKeyId: null, projectId: null, source: '192.0.2.1', about: [], isProven: true, ...more,
});
const put = (requestId: string, more: Partial<AuditRecord> = {}) => change(requestId, { kind: 'data', service: 's3', action: 'PutObject', ...more });
const said = (text: string) => lines.filter(({ msg }) => String(msg).includes(text));

/** Lets time go by until it is settled. */
async function settle<T>(work: Promise<T>): Promise<T> {
  const state = { isOver: false };
  const watched = work.finally(() => void (state.isOver = true));
  while (!state.isOver) await clock.advance(10);
  return watched;
}

it('a change of the cloud is written when the client is answered; what comes meanwhile goes in one statement', async () => {
  const opened: (() => void)[] = [];
  insert = async (rows) => {
    await new Promise<void>((resolve) => void opened.push(resolve));
    await kept(rows);
  };
  const first = writer.record(change('r1'));
  await clock.advance(1);
  const others = ['r2', 'r3', 'r4'].map((id) => writer.record(change(id)));
  await clock.advance(1);
  expect(batches).toEqual([]);
  opened.shift()?.();
  await settle(first);
  expect(batches).toEqual([['r1']]);
  await until(() => opened.length > 0);
  opened.shift()?.();
  await settle(Promise.all(others));
  expect(batches).toEqual([['r1'], ['r2', 'r3', 'r4']]);
  expect(writer.figures()).toEqual({ written: 4, waiting: 0, lost: { full: 0, late: 0, flood: 0, ended: 0 } });
});

it('nobody waits for what is refused or is done to objects: it is written soon, together, and at once when it is many', async () => {
  await writer.record(put('p1'));
  await writer.record(change('r1', { outcome: 'refused', status: 403 }));
  await clock.advance(100);
  expect(batches).toEqual([]);
  await clock.advance(150);
  expect(batches).toEqual([['p1', 'r1']]);
  for (let index = 0; index < 1_200; index += 1) await writer.record(put(`q${index}`));
  for (let waitedMs = 0; waitedMs < 150 && batches.length < 3; waitedMs += 1) await clock.advance(1);
  expect(batches.slice(1).map((batch) => batch.length).slice(0, 2)).toEqual([500, 500]);
  await clock.advance(250);
  expect(batches.flat()).toHaveLength(1_202);
});

it('a database that is away keeps a client for two seconds at most, and has all of it when it is back', async () => {
  insert = away;
  const answered = writer.record(change('r1'));
  const before = clock.now();
  await settle(answered);
  expect(clock.now() - before).toBeLessThanOrEqual(2_050);
  await writer.record(put('p1'));
  await clock.advance(20_000);
  expect(writer.figures()).toMatchObject({ written: 0, waiting: 2 });
  expect(said('cannot be written').map(({ error }) => error)).toEqual(['it is away']);
  insert = kept;
  await clock.advance(6_000);
  expect(batches).toEqual([['r1', 'p1']]);
  expect(said('written again')).toHaveLength(1);
});

it('what waits for a minute is lost: counted, and, where it was a change of the cloud, in the log whole', async () => {
  insert = away;
  void writer.record(change('r1'));
  await writer.record(put('p1'));
  await writer.record(put('p2'));
  await clock.advance(70_000);
  expect(writer.figures()).toEqual({ written: 0, waiting: 0, lost: { full: 0, late: 3, flood: 0, ended: 0 } });
  expect(said('not in the audit log').find(({ record }) => record !== undefined))
    .toMatchObject({ why: 'late', record: { requestId: 'r1', action: 'RunInstances' } });
  expect(said('not in the audit log').find(({ objects }) => objects !== undefined)).toMatchObject({ why: 'late', objects: 2 });
  insert = kept;
  await settle(writer.record(change('r2')));
  expect(batches).toEqual([['r2']]);
});

it('no more waits than there is room for', async () => {
  await system.stop(1_000);
  start({ waitingMax: 3 });
  insert = away;
  for (const id of ['p1', 'p2', 'p3', 'p4', 'p5']) await writer.record(put(id));
  await clock.advance(1_000);
  expect(writer.figures()).toMatchObject({ waiting: 3, lost: { full: 2 } });
  insert = kept;
  await clock.advance(6_000);
  expect(batches).toEqual([['p1', 'p2', 'p3']]);
});

it('strangers who are refused do not fill it: three hundred in a minute, and one line of the log', async () => {
  for (let index = 0; index < 1_000; index += 1) await writer.record(put(`s${index}`, { isProven: false, outcome: 'refused', status: 403 }));
  await writer.record(put('open', { isProven: false }));
  await settle(writer.record(change('r1')));
  expect(writer.figures().lost.flood).toBe(700);
  expect(said('strangers')).toHaveLength(1);
  await clock.advance(60_000);
  expect(batches.flat()).toHaveLength(302);
  await writer.record(put('later', { isProven: false, outcome: 'refused', status: 403 }));
  await clock.advance(300);
  expect(batches.flat().slice(-1)).toEqual(['later']);
});

it('where objects are not to be recorded, the rest is', async () => {
  await system.stop(1_000);
  start({ hasObjects: false });
  await writer.record(put('p1'));
  await settle(writer.record(change('r1')));
  await clock.advance(1_000);
  expect(batches).toEqual([['r1']]);
});

it('at the end of a process what waits is written; if that cannot be, it is counted', async () => {
  await writer.record(put('p1'));
  await settle(writer.flush());
  expect(batches).toEqual([['p1']]);
  insert = away;
  await writer.record(put('p2'));
  await settle(writer.flush());
  await settle(system.stop(1_000));
  expect(writer.figures().lost).toMatchObject({ ended: 1 });
  await settle(writer.record(change('r1')));
  expect(writer.figures().lost).toMatchObject({ ended: 2 });
});
