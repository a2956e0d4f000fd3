// The database of a simulated cloud: PGlite behind a client of our own that speaks the wire protocol at once, with prepared statements, so that a
// query costs a tenth and needs no turn of the event loop. Each simulated process has a connection that can be cut, as a dead process's is.
import { protocol, types } from '@electric-sql/pglite';
import type { PGlite } from '@electric-sql/pglite';
import { drizzle } from 'drizzle-orm/pglite';
import type { Db } from '../../src/db/db.ts';
import * as schema from '../../src/db/schema/all.ts';
import { createPglite } from './pglite.ts';

/** What stands between a process and the database. */
export interface Wire {
  /** Before a statement or transaction: takes its time; never resolves for a dead process; rejects when the database is away. */
  before(): Promise<void>;
  /** After it: what was done is done, whether the process learns of it or not. */
  after(): Promise<void>;
}

interface Prepared {
  readonly name: string;
  readonly parameterTypes: readonly number[];
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[];
  readonly isChange: boolean;
}

interface QueryOptions {
  readonly rowMode?: 'array' | 'object';
  readonly parsers?: Readonly<Record<number, (value: string) => unknown>>;
}

interface Results {
  readonly rows: readonly unknown[];
  readonly affectedRows: number;
}

const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

/** The holder of the one session: transactions are exclusive, as PGlite's are. */
interface Session {
  /** `lost`: the process is dead. `cut`: the database went away. */
  state: 'open' | 'lost' | 'cut';
}

export class SimDatabase {
  readonly #pglite: PGlite;
  readonly #prepared = new Map<string, Prepared>();
  readonly #waiting: (() => void)[] = [];
  #holder: Session | undefined;
  statements = 0;
  /** Of instances and hosts: what the invariants look at again after each change. */
  changes = 0;

  constructor(pglite: PGlite) {
    this.#pglite = pglite;
  }

  static async open(): Promise<SimDatabase> {
    const database = new SimDatabase(await createPglite());
    // Plans must not depend on how often a statement ran in simulations before.
    database.run('set plan_cache_mode = force_generic_plan');
    return database;
  }

  /** Without any wire: for the simulation itself. */
  rows<Row>(text: string, params: readonly unknown[] = []): readonly Row[] {
    return this.run(text, params, { rowMode: 'object' }).rows as readonly Row[];
  }

  /** As right after the migrations. */
  empty(): void {
    const tables = this.rows<{ name: string }>("select relname as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace");
    this.run(`truncate ${tables.map(({ name }) => `"${name}"`).join(', ')} restart identity cascade`);
  }

  /** A handle without faults, for what is laid before the simulation begins. */
  direct(): Db {
    return this.connect({ before: async () => undefined, after: async () => undefined }).db;
  }

  /** `cut` ends what the connection has in hand: rolled back, and its owner learns nothing (`lost`) or an error (`cut`). */
  connect(wire: Wire): { readonly db: Db; cut(state: 'lost' | 'cut'): void } {
    const client = new Connection(this, wire);
    return { db: drizzle(client as never, { schema }) as unknown as Db, cut: (state) => client.cut(state) };
  }

  /** PGlite keeps every answer until its other way of asking is used: after each simulation they are forgotten. */
  async forget(): Promise<void> {
    await this.#pglite.execProtocol(protocol.serialize.sync(), { syncToFs: false });
  }

  async close(): Promise<void> {
    await this.#pglite.close();
  }

  async hold(): Promise<Session> {
    while (this.#holder !== undefined) await new Promise<void>((resolve) => { this.#waiting.push(resolve); });
    this.#holder = { state: 'open' };
    return this.#holder;
  }

  /** A transaction is open: what is read now is not what others see. */
  get isHeld(): boolean {
    return this.#holder !== undefined;
  }

  free(session: Session): void {
    if (this.#holder !== session) return;
    this.#holder = undefined;
    this.#waiting.shift()?.();
  }

  run(text: string, params: readonly unknown[] = [], options: QueryOptions = {}): Results {
    this.statements += 1;
    const prepared = this.#prepare(text);
    const values = params.map((value, index) => serialise(value, prepared.parameterTypes[index] ?? 0));
    const { bind, execute, sync } = protocol.serialize;
    const answer = this.#speak([bind({ statement: prepared.name, portal: '', values }), execute({ portal: '', rows: 0 }), sync()]);
    const parsers = prepared.fields.map(({ dataTypeID }) => options.parsers?.[dataTypeID] ?? types.parsers[dataTypeID]);
    const rows: unknown[] = [];
    let affectedRows = 0;
    for (const { kind, body } of messagesOf(answer)) {
      if (kind === 'D') rows.push(rowOf(textsOf(body), prepared, parsers, options));
      else if (kind === 'C') affectedRows = Number(/(\d+)\0$/.exec(body.toString('latin1'))?.[1] ?? 0);
    }
    if (affectedRows > 0 && prepared.isChange) this.changes += 1;
    return { rows, affectedRows };
  }

  #prepare(text: string): Prepared {
    const known = this.#prepared.get(text);
    if (known !== undefined) return known;
    const name = `s${this.#prepared.size}`;
    const { parse, describe, sync } = protocol.serialize;
    let parameterTypes: readonly number[] = [];
    let fields: Prepared['fields'] = [];
    new protocol.Parser().parse(this.#speak([parse({ name, text, types: [] }), describe({ type: 'S', name }), sync()]), (message) => {
      if (message.name === 'parameterDescription') parameterTypes = (message as unknown as { dataTypeIDs: number[] }).dataTypeIDs;
      if (message.name === 'rowDescription') ({ fields } = message as unknown as Pick<Prepared, 'fields'>);
    });
    const prepared = { name, parameterTypes, fields, isChange: changesWhatIsWatched.test(text) };
    this.#prepared.set(text, prepared);
    return prepared;
  }

  #speak(parts: readonly Uint8Array[]): Buffer {
    const bytes = this.#pglite.execProtocolRawSync(Buffer.concat(parts));
    const answer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (messagesOf(answer).some(({ kind }) => kind === 'E')) {
      new protocol.Parser().parse(bytes as never, (message) => {
        if (message.name === 'error') throw message as unknown as Error;
      });
    }
    return answer;
  }
}

const changesWhatIsWatched = /^\s*(insert into|update|delete from) "?(instances|hosts)\b/i;

interface Message {
  readonly kind: string;
  readonly body: Buffer;
}

/** The messages of an answer: a letter, a length that counts itself, a body. */
function messagesOf(answer: Buffer): readonly Message[] {
  const messages: Message[] = [];
  for (let start = 0; start + 5 <= answer.length;) {
    const end = start + 1 + answer.readInt32BE(start + 1);
    messages.push({ kind: String.fromCharCode(answer.readUInt8(start)), body: answer.subarray(start + 5, end) });
    start = end;
  }
  return messages;
}

/** The columns of a row: a count, then each with its length, −1 for null. */
function textsOf(body: Buffer): readonly (string | null)[] {
  const texts: (string | null)[] = [];
  for (let start = 2; start < body.length;) {
    const length = body.readInt32BE(start);
    texts.push(length < 0 ? null : body.toString('utf8', start + 4, start + 4 + length));
    start += 4 + Math.max(0, length);
  }
  return texts;
}

function serialise(value: unknown, type: number): string | null {
  if (value === null || value === undefined) return null;
  const serialiser = types.serializers[type];
  return serialiser === undefined ? String(value) : (serialiser(value) as string);
}

function rowOf(
  texts: readonly (string | null)[], prepared: Prepared, parsers: readonly (((value: string) => unknown) | undefined)[], options: QueryOptions,
): unknown {
  const values = texts.map((text, index) => (text === null ? null : (parsers[index]?.(text) ?? text)));
  return options.rowMode === 'array' ? values : Object.fromEntries(prepared.fields.map(({ name }, index) => [name, values[index]]));
}

/** The two methods of a PGlite that drizzle uses. */
class Connection {
  readonly #database: SimDatabase;
  readonly #wire: Wire;
  readonly #sessions = new Set<Session>();
  #isLost = false;

  constructor(database: SimDatabase, wire: Wire) {
    this.#database = database;
    this.#wire = wire;
  }

  cut(state: 'lost' | 'cut'): void {
    if (state === 'lost') this.#isLost = true;
    for (const session of this.#sessions) {
      session.state = state;
      this.#database.run('rollback');
      this.#database.free(session);
    }
    this.#sessions.clear();
  }

  async query(text: string, params: readonly unknown[], options: QueryOptions): Promise<Results> {
    await this.#wire.before();
    const session = await this.#database.hold();
    let outcome: Results | undefined;
    try {
      if (!this.#isLost) outcome = this.#database.run(text, params, options);
    } finally {
      this.#database.free(session);
    }
    if (outcome === undefined) return never();
    await this.#wire.after();
    return outcome;
  }

  async transaction<T>(work: (client: Pick<Connection, 'query'>) => Promise<T>): Promise<T> {
    await this.#wire.before();
    const session = await this.#database.hold();
    if (this.#isLost) {
      this.#database.free(session);
      return never();
    }
    this.#sessions.add(session);
    const end = async (verb: 'commit' | 'rollback'): Promise<void> => {
      if (session.state === 'lost') return never();
      if (session.state === 'cut') throw connectionLost();
      this.#database.run(verb);
      this.#sessions.delete(session);
      this.#database.free(session);
      await this.#wire.after();
    };
    const query = async (text: string, params: readonly unknown[], options: QueryOptions): Promise<Results> => {
      if (session.state === 'lost') return never();
      if (session.state === 'cut') throw connectionLost();
      return this.#database.run(text, params, options);
    };
    let value: T;
    try {
      this.#database.run('begin');
      value = await work({ query });
    } catch (error) {
      await end('rollback');
      throw error;
    }
    await end('commit');
    return value;
  }
}

/** As postgres.js says it. */
export const connectionLost = (): Error => Object.assign(new Error('write CONNECTION_CLOSED 127.0.0.1:5432'), { code: 'CONNECTION_CLOSED' });
