// The bound connections of a process to its directory: opened when needed, kept, and several questions at once on each. What fails closed
// lies here: everything ends in time, and of a directory that is away nobody is told that something does not exist.
import { Change, type Client, type Entry, type SearchOptions } from 'ldapts';
import { createCircuitBreaker } from '../../../lib/circuit-breaker.ts';
import type { Clock } from '../../../lib/clock.ts';
import { createGate } from '../../../lib/gate.ts';
import type { Log } from '../../../lib/log.ts';
import { Secret } from '../../../lib/secret.ts';
import { openConnection, type LdapConnection, type Who } from './connection.ts';
import { DirectoryAway, hasCode, ldapError, outage, resultCode } from './errors.ts';
import type { LdapSettings } from './settings.ts';

export interface LdapPool {
  /** All entries, however many: fetched in pages. None where the base does not exist. */
  search(base: string, options: Pick<SearchOptions, 'scope' | 'filter'> & { attributes: string[] }): Promise<readonly Entry[]>;
  add(name: string, attributes: Readonly<Record<string, string | string[]>>): Promise<void>;
  modify(name: string, changes: readonly Change[]): Promise<void>;
  remove(name: string): Promise<void>;
  /** Whether the directory takes the password for that entry. On a connection of its own, which nothing else ever uses. */
  takesPassword(name: string, password: string): Promise<boolean>;
  close(): void;
}

export interface PoolDeps {
  readonly settings: LdapSettings;
  readonly clock: Clock;
  readonly log: Log;
}

const failuresMax = 3;
const restMs = 3_000;
const pageSize = 500;
/** Each is a connection and a few milliseconds of the directory's hashing. */
const passwordsAtOnceMax = 8;

export function createLdapPool(deps: PoolDeps): LdapPool {
  const { settings, clock } = deps;
  const slots = createSlots(deps);
  const passwords = createGate(passwordsAtOnceMax);
  const breaker = createCircuitBreaker({
    clock, failuresMax, restMs, isOutage: (error) => error instanceof DirectoryAway,
    refusal: () => outage('ask the directory: it is away, and was asked a moment ago'),
  });

  /** `again`: whether a connection that broke while it was asked may be followed by another; a question may, a change may have been made. */
  const ask = <T>(what: string, again: boolean, work: (client: Client) => Promise<T>): Promise<T> => breaker.run(async () => {
    const take = slots.next();
    for (let attempt = 1; ; attempt += 1) {
      const connection = await take();
      try {
        return await work(connection.client);
      } catch (error) {
        const failure = ldapError(what, error);
        if (!(failure instanceof DirectoryAway)) throw failure;
        // Its answer may still come: nobody is to take it for that to a later question.
        connection.close();
        if (!again || attempt > 1) throw failure;
      }
    }
  });

  return {
    search: (base, options) => ask('search the directory', true, (client) => searchAll(client, base, options)),
    add: (name, attributes) => ask('add an entry', false, (client) => client.add(name, { ...attributes })),
    modify: (name, changes) => ask('change an entry', false, (client) => client.modify(name, [...changes])),
    remove: (name) => ask('remove an entry', false, (client) => client.del(name)),
    takesPassword: (name, password) => passwords.pass(() => breaker.run(async () => {
      const connection = await openAny(settings, { dn: name, password: new Secret(password) }, clock);
      connection?.close();
      return connection !== undefined;
    })),
    close: slots.close,
  };
}

async function searchAll(client: Client, base: string, options: SearchOptions): Promise<readonly Entry[]> {
  try {
    return (await client.search(base, { ...options, paged: { pageSize }, derefAliases: 'never' })).searchEntries;
  } catch (error) {
    if (hasCode(error, resultCode.noSuchObject)) return [];
    throw error;
  }
}

/** So many connections in turn, each opened when it is first needed and again when it broke. */
function createSlots({ settings, clock, log }: PoolDeps): { next(): () => Promise<LdapConnection>; close(): void } {
  const own: Who = { dn: settings.bindDn, password: settings.password };
  const connections: (Promise<LdapConnection> | undefined)[] = Array.from({ length: settings.connectionsMax }, () => undefined);
  let turn = 0;
  let isClosed = false;
  const drop = (slot: number, which: Promise<LdapConnection>): void => {
    if (connections[slot] === which) connections[slot] = undefined;
  };
  const take = async (slot: number): Promise<LdapConnection> => {
    for (;;) {
      if (isClosed) throw outage('ask the directory: this process is ending');
      const kept = connections[slot];
      const present = await kept;
      if (present?.isAlive() === true) return present;
      // While it was waited for, somebody else may have put a new one in its place.
      if (connections[slot] !== kept) continue;
      const opening = openFirst(settings, own, clock, log);
      connections[slot] = opening;
      opening.catch(() => drop(slot, opening));
    }
  };
  return {
    next() {
      const slot = (turn = (turn + 1) % connections.length);
      return () => take(slot);
    },
    close() {
      isClosed = true;
      for (const connection of connections) void connection?.then((open) => open.close(), () => undefined);
    },
  };
}

/** By the first server that answers. A wrong password of novact's own is no answer that a client could do anything about. */
async function openFirst(settings: LdapSettings, who: Who, clock: Clock, log: Log): Promise<LdapConnection> {
  const connection = await openAny(settings, who, clock);
  if (connection !== undefined) return connection;
  log.error({ bindDn: who.dn }, 'the directory refuses the account or the password of novact (NOVACT_LDAP_BIND_DN, NOVACT_LDAP_PASSWORD)');
  throw outage('ask the directory: it refuses novact\'s own account');
}

async function openAny(settings: LdapSettings, who: Who, clock: Clock): Promise<LdapConnection | undefined> {
  let last: unknown;
  for (const url of settings.urls) {
    try {
      return await openConnection(url, who, settings, clock);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}
