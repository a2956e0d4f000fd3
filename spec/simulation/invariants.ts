// What must hold. Some things always: they are looked at whenever the cloud has changed. The rest once the faults have ceased and all is quiet.
import type { SimClients } from './clients.ts';
import type { SimCloud } from './cloud.ts';
import { instancesFolder } from './roles.ts';

interface InstanceRow {
  readonly id: string;
  readonly state: string;
  readonly host: string | null;
  readonly fence: number;
  readonly code: string | null;
}

const instanceRows = (cloud: SimCloud): readonly InstanceRow[] =>
  cloud.database.rows<InstanceRow>('select id, state, host, fence, state_reason_code as code from instances order by id');

/** Looks after each change; what it has seen is what the next look is compared with. */
export class Watcher {
  readonly #cloud: SimCloud;
  #known = new Map<string, InstanceRow>();
  #changes = -1;
  readonly #doubled = new Set<string>();
  /** By instance: when it was last said that the cloud itself could not do what it was asked. */
  readonly excusedAt = new Map<string, number>();

  constructor(cloud: SimCloud) {
    this.#cloud = cloud;
  }

  /** False: something was violated. */
  look(): boolean {
    this.#lookAtDomains();
    if (this.#cloud.database.changes !== this.#changes && !this.#cloud.database.isHeld) this.#lookAtRows();
    return this.#cloud.violations.length === 0;
  }

  #lookAtRows(): void {
    const { database } = this.#cloud;
    this.#changes = database.changes;
    const rows = instanceRows(this.#cloud);
    for (const row of rows) this.#compare(row, this.#known.get(row.id));
    this.#known = new Map(rows.map((row) => [row.id, row]));
    this.#lookAtClaims();
  }

  #compare(row: InstanceRow, before: InstanceRow | undefined): void {
    const cloud = this.#cloud;
    if (before !== undefined && before.state === row.state && before.host === row.host && before.fence === row.fence) return;
    cloud.say(`${row.id} is ${row.state}${row.host === null ? '' : ` on ${row.host}`}${row.code === null ? '' : ` (${row.code})`}`);
    if (row.code?.startsWith('Server.') === true) this.excusedAt.set(row.id, cloud.time.now());
    if (before?.state === 'terminated' && row.state !== 'terminated') cloud.violate(`${row.id} was terminated and is ${row.state}`);
    if (before !== undefined && row.fence < before.fence) cloud.violate(`the fence of ${row.id} went back from ${before.fence} to ${row.fence}`);
  }

  /** Two guests with one disk and one address at the same time. */
  #lookAtDomains(): void {
    const homes = new Map<string, string>();
    for (const { name, world } of this.#cloud.machines) {
      for (const [id, domain] of world.domains) {
        if (domain.state !== 'running') continue;
        const other = homes.get(id);
        if (other !== undefined && !this.#doubled.has(id)) {
          this.#doubled.add(id);
          this.#cloud.violate(`${id} runs on ${other} and on ${name}`);
        }
        homes.set(id, name);
      }
    }
  }

  #lookAtClaims(): void {
    const wrong = this.#cloud.database.rows<{ name: string; claimed: number; sum: number }>(`
      select h.name, h.claimed_cores as claimed, coalesce(sum(i.cores), 0)::int as sum from hosts h
      left join instances i on i.host = h.name and i.state <> 'terminated' group by h.name, h.claimed_cores
      having h.claimed_cores <> coalesce(sum(i.cores), 0)`);
    for (const { name, claimed, sum } of wrong) this.#cloud.violate(`${claimed} cores of ${name} are claimed, its instances have ${sum}`);
  }
}

const lasting = new Set(['running', 'stopped', 'terminated']);

/** Why the cloud is still at work; undefined: all is quiet. */
export function unrest(cloud: SimCloud, clients: SimClients): string | undefined {
  const down = cloud.services.filter(({ process }) => process?.state !== 'alive').map(({ name }) => name);
  if (down.length > 0) return `not up: ${down.join(', ')}`;
  if (!clients.areDone) return 'clients wait for answers';
  if (cloud.database.isHeld) return 'a transaction is open';
  const [left] = cloud.database.rows<{ operations: number; outbox: number }>(`
    select (select count(*)::int from operations where state in ('waiting', 'running', 'undoing')) as operations,
      (select count(*)::int from outbox) as outbox`);
  if (left !== undefined && left.operations + left.outbox > 0) return `${left.operations} operations and ${left.outbox} letters are left`;
  const moving = instanceRows(cloud).filter(({ state }) => !lasting.has(state));
  return moving.length > 0 ? `in passing: ${moving.map(({ id, state }) => `${id} ${state}`).join(', ')}` : undefined;
}

/** Once it is quiet, and has been for some rounds of every reconciler. */
export function checkAll(cloud: SimCloud, clients: SimClients, excusedAt: ReadonlyMap<string, number>): void {
  const reason = unrest(cloud, clients);
  if (reason !== undefined) cloud.violate(`not quiet: ${reason}`);
  const rows = instanceRows(cloud);
  checkDomains(cloud, rows);
  checkAddresses(cloud, rows);
  checkWishes(cloud, { clients, excusedAt }, rows);
  checkLaunches(cloud, clients);
  const letters = cloud.database.rows<{ id: string }>('select id from outbox');
  if (letters.length > 0) cloud.violate(`${letters.length} letters were never sent`);
  checkDeadLetters(cloud);
}

/** Time may run out, and a handler may fail while the database is away (its sender asks again). A message that is not understood nothing excuses. */
const excusedReasons = new Set(['expired', 'poison']);

function checkDeadLetters(cloud: SimCloud): void {
  for (const { type, to, reason, error } of cloud.medium.deadLetters()) {
    if (!excusedReasons.has(reason)) cloud.violate(`${type} for ${to} is a dead letter: ${reason}, ${error ?? 'without an error'}`);
  }
}

function checkDomains(cloud: SimCloud, rows: readonly InstanceRow[]): void {
  for (const { name, world, files } of cloud.machines) {
    const here = new Map(rows.filter((row) => row.host === name && row.state !== 'terminated').map((row) => [row.id, row]));
    for (const [id, domain] of world.domains) {
      const row = here.get(id);
      if (row === undefined) cloud.violate(`a domain of ${id} is left on ${name} (${domain.state})`);
      else if ((domain.state === 'running') !== (row.state === 'running')) cloud.violate(`${id} is ${row.state}, its domain on ${name} is ${domain.state}`);
    }
    for (const [id, row] of here) if (row.state === 'running' && !world.domains.has(id)) cloud.violate(`${id} is running without a domain on ${name}`);
    const folders = new Set(files.paths().filter((path) => path.startsWith(`${instancesFolder}/`)).map((path) => path.split('/')[2] ?? ''));
    for (const id of folders) if (!here.has(id)) cloud.violate(`a folder of ${id} is left on ${name}`);
    for (const id of here.keys()) if (!folders.has(id)) cloud.violate(`${id} has no folder on ${name}`);
  }
  for (const row of rows) if (row.state !== 'terminated' && row.host === null) cloud.violate(`${row.id} is ${row.state} without a host`);
}

function checkAddresses(cloud: SimCloud, rows: readonly InstanceRow[]): void {
  const living = new Map(rows.filter((row) => row.state !== 'terminated').map((row) => [row.id, row]));
  const held = cloud.database.rows<{ id: string; address: string }>('select instance_id as id, address from fixed_addresses where instance_id is not null');
  for (const { id, address } of held) if (!living.has(id)) cloud.violate(`the address ${address} of ${id} was never given back`);
  for (const id of living.keys()) {
    const count = held.filter((row) => row.id === id).length;
    if (count !== 1) cloud.violate(`${id} has ${count} addresses`);
  }
  for (const { name, network } of cloud.machines) {
    const wanted = [...living.values()].filter((row) => row.host === name).map((row) => row.id).toSorted().join(' ');
    const ports = (network.host.firewall?.ports ?? []).map((port) => port.instanceId).toSorted().join(' ');
    if (ports !== wanted) cloud.violate(`the rules of ${name} are for [${ports}], its instances are [${wanted}]`);
  }
}

/** What a user was promised came true, or has its reason, or had one after it was promised. */
function checkWishes(
  cloud: SimCloud, { clients, excusedAt }: { clients: SimClients; excusedAt: ReadonlyMap<string, number> }, rows: readonly InstanceRow[],
): void {
  const states = new Map(rows.map((row) => [row.id, row]));
  for (const [id, { state, sentAt }] of clients.wishes) {
    const row = states.get(id);
    if (row === undefined) cloud.violate(`${id} was promised to be ${state} and is forgotten`);
    else if (state === 'unknown' || row.state === state) continue;
    else if (state === 'terminated' || (row.code === null && (excusedAt.get(id) ?? 0) < sentAt)) {
      cloud.violate(`${id} was promised to be ${state} and is ${row.state} (${row.code ?? 'no reason'})`);
    }
  }
}

function checkLaunches(cloud: SimCloud, clients: SimClients): void {
  const made = cloud.database.rows<{ token: string; count: number; reservations: number }>(`
    select r.client_token as token, count(i.id)::int as count, count(distinct r.id)::int as reservations
    from reservations r left join instances i on i.reservation_id = r.id group by r.client_token`);
  for (const { token, count, ids } of clients.launches) {
    const launched = made.find((row) => row.token === token);
    if (ids !== undefined && launched === undefined) cloud.violate(`the launch ${token} was answered and is not there`);
    if (launched !== undefined && (launched.reservations !== 1 || launched.count !== count)) {
      cloud.violate(`the launch ${token} of ${count} made ${launched.count} instances in ${launched.reservations} reservations`);
    }
  }
}
