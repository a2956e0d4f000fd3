// What a cloud leaves on its host and in its database when no instance lives any more: looked for with the tools of the operating system
// and with plain SQL, never with novact's own code. Each list names what it found, so that a failure says what was left.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql, type SQL } from 'drizzle-orm';
import type { OpenDatabase } from '../../src/db/connect.ts';
import { rowsOf } from '../../src/db/db.ts';
import type { CloudProcess } from './cloud-process.ts';
import type { TestHost } from './host.ts';
import type { Hosts } from './three-hosts.ts';
import { waitFor } from './patience.ts';

/** A host, as far as it is looked at here. */
export interface LookedAt {
  readonly host: Pick<TestHost, 'namespace' | 'run' | 'virsh'>;
  readonly guests: 'qemu' | 'lxc';
  readonly state: string;
  /** Interfaces that the host has anyway. */
  readonly interfaces?: readonly string[];
  /** Addresses that the host holds itself. */
  readonly addresses?: readonly string[];
}

export interface HostLeftovers {
  /** `virsh list --all`. */
  readonly domains: readonly string[];
  /** Folders in which an instance's disk and console lay. */
  readonly folders: readonly string[];
  /** Whom dnsmasq serves. */
  readonly dhcpHosts: readonly string[];
  /** Whom it knows by name. */
  readonly names: readonly string[];
  readonly leases: readonly string[];
  /** Addresses of guests in any nftables rule or set. */
  readonly rules: readonly string[];
  /** Interfaces that are neither the loopback nor the bridge. */
  readonly interfaces: readonly string[];
  /** QEMU and container processes in the namespace, and servers of volumes. */
  readonly processes: readonly string[];
}

export interface RowLeftovers {
  readonly addresses: readonly string[];
  readonly claims: readonly string[];
  /** Messages that were not sent. */
  readonly outbox: readonly string[];
  readonly operations: readonly string[];
  readonly transitional: readonly string[];
  /** Volumes that something is said to have. */
  readonly attachments: readonly string[];
  /** Terminated rows that still name something alive: a deadline. */
  readonly unsettled: readonly string[];
}

const bridge = 'novact0';
const gateway = '10.45.0.1';

export async function hostLeftovers(cloud: LookedAt): Promise<HostLeftovers> {
  const network = join(cloud.state, 'networks', bridge);
  return {
    domains: lines(await cloud.host.virsh(cloud.guests, 'list', '--all', '--name')),
    folders: await readdir(join(cloud.state, 'instances')),
    dhcpHosts: await linesOf(join(network, 'dhcp-hosts')),
    names: await linesOf(join(network, 'names')),
    leases: await linesOf(join(network, 'leases')),
    rules: await guestAddressesInRules(cloud),
    interfaces: await strangeInterfaces(cloud),
    processes: await guestProcesses(cloud),
  };
}

async function guestAddressesInRules(cloud: LookedAt): Promise<string[]> {
  const { stdout } = await cloud.host.run('nft', ['list', 'ruleset']);
  const addresses = [...stdout.matchAll(/\b10\.45\.\d+\.\d+(?:\/\d+)?/g)].map(([text]) => text);
  const macs = [...stdout.matchAll(/\b02:16:3e:[0-9a-f:]{8}\b/g)].map(([text]) => text);
  const known = new Set([gateway, '10.45.0.0/20', '02:16:3e:00:00:00', ...(cloud.addresses ?? [])]);
  return [...new Set([...addresses, ...macs])].filter((text) => !known.has(text));
}

async function strangeInterfaces(cloud: LookedAt): Promise<string[]> {
  const { stdout } = await cloud.host.run('ip', ['-j', 'link', 'show']);
  const links = JSON.parse(stdout) as { ifname: string }[];
  return links.map((link) => link.ifname).filter((name) => name !== 'lo' && name !== bridge && cloud.interfaces?.includes(name) !== true);
}

async function guestProcesses(cloud: LookedAt): Promise<string[]> {
  const { stdout } = await cloud.host.run('ip', ['netns', 'pids', cloud.host.namespace]);
  const found: string[] = [];
  for (const pid of lines(stdout)) {
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    // libvirtd asks QEMU what it can do with a process of its own, which is no guest.
    const isGuest = /qemu-system|libvirt_lxc/.test(command[0] ?? '') && command.some((word) => /\bi-[0-9a-f]{8,}/.test(word));
    if (isGuest || /(^|\/)(tgtd|nbdkit)$/.test(command[0] ?? '')) found.push(`${pid} ${command.slice(0, 4).join(' ')}`);
  }
  return found;
}

export async function rowLeftovers(database: OpenDatabase): Promise<RowLeftovers> {
  const texts = async (query: SQL): Promise<string[]> => {
    return rowsOf(await database.db.execute(query)).map((row) => Object.values(row).join(' '));
  };
  return {
    addresses: await texts(sql`select address, instance_id from fixed_addresses where instance_id is not null and instance_id not like 'host %'`),
    outbox: await texts(sql`select mailbox, envelope from outbox`),
    claims: await texts(sql`select name, claimed_cores, claimed_memory_mib, claimed_disk_gib from hosts
      where claimed_cores <> 0 or claimed_memory_mib <> 0 or claimed_disk_gib <> 0`),
    operations: await texts(sql`select kind, resource_id, state, error from operations where state not in ('done', 'failed')`),
    attachments: await texts(sql`select volume_id, instance_id, state, released from volume_attachments`),
    transitional: await texts(sql`select id, state, state_reason_message from instances where state <> 'terminated'`),
    unsettled: await texts(sql`select id, state_deadline from instances where state = 'terminated' and (state_deadline is not null or terminated_at is null)`),
  };
}

/** Passes when nothing of any instance is left, at the latest after five seconds: dnsmasq and the kernel may need a moment. */
export async function expectNoLeftovers(cloud: CloudProcess): Promise<void> {
  const database = await cloud.openDatabase();
  try {
    await expectNothing(async () => ({ ...(await hostLeftovers(cloud)), ...(await rowLeftovers(database)) }));
  } finally {
    await database.close();
  }
}

/** By then every host has looked at the database for itself. */
const reconciledMs = 35_000;

/**
 * The same for all hosts of a cloud, and for the mailboxes between them. The names of another host's guests go when the host looks at the
 * database next, and so are looked at only by who gives it the time.
 */
export async function expectNoLeftoversOnHosts(cloud: Hosts, options: { timeoutMs?: number; hadOutages?: boolean } = {}): Promise<void> {
  const database = await cloud.openDatabase();
  try {
    await expectNothing(async () => {
      const all: Record<string, readonly string[]> = { ...(await rowLeftovers(database)), messages: await messagesLeft(cloud, options.hadOutages ?? false) };
      for (const { name, machine, state } of cloud.hosts) {
        const { stdout } = await machine.run('ip', ['-4', 'address', 'show', bridge]);
        const addresses = [...stdout.matchAll(/inet ([0-9.]+)/g)].flatMap(([, text]) => text ?? []);
        const found = await hostLeftovers({ host: machine, guests: cloud.guests, state, interfaces: ['management0', 'guests0'], addresses });
        for (const [what, list] of Object.entries(found)) {
          if (what !== 'names' || (options.timeoutMs ?? 0) >= reconciledMs) all[`${what} of ${name}`] = list;
        }
      }
      return all;
    }, options.timeoutMs);
  } finally {
    await database.close();
  }
}

/** Entries that nobody has acknowledged, of any stream, and dead letters. Questions that nobody could answer in time during an outage are expected. */
async function messagesLeft(cloud: Hosts, hadOutages: boolean): Promise<string[]> {
  const [, ...streams] = lines(await cloud.shared.redisCommand('SCAN', '0', 'TYPE', 'stream', 'COUNT', '100000'));
  if (streams.length === 0) throw new Error('a cloud of many processes has mailboxes, but Redis has none');
  const left: string[] = [];
  for (const stream of streams) {
    // The last replies to a process stay until the next ones come, or until they expire, which a stream of replies always does.
    if (stream.endsWith(':re') && Number(await cloud.shared.redisCommand('PTTL', stream)) > 0) continue;
    const entries = (await cloud.shared.redisCommand('XRANGE', stream, '-', '+', 'COUNT', '100')).split('\n').filter((line) => line.startsWith('{'));
    const strange = entries.filter((entry) => !(hadOutages && stream.endsWith(':dlq') && entry.includes('"reason":"expired"')));
    if (strange.length > 0) left.push(`${stream}: ${strange.length} ${strange.slice(0, 2).join(' ').slice(0, 500)}`);
  }
  return left;
}

async function expectNothing(look: () => Promise<Record<string, readonly string[]>>, timeoutMs = 20_000): Promise<void> {
  let found: Record<string, readonly string[]> = {};
  try {
    await waitFor('nothing is left', { timeoutMs }, async () => {
      found = Object.fromEntries(Object.entries(await look()).filter(([, list]) => list.length > 0));
      return Object.keys(found).length === 0 ? true : undefined;
    });
  } catch (cause) {
    const why = cause instanceof Error && cause.cause !== undefined ? `; the last look failed: ${String(cause.cause)}` : '';
    throw new Error(`left after everything was terminated: ${JSON.stringify(found, null, 1)}${why}`, { cause });
  }
}

const lines = (text: string): string[] => text.split('\n').map((line) => line.trim()).filter((line) => line !== '');
const linesOf = async (path: string): Promise<string[]> => lines(await readFile(path, 'utf8').catch(() => ''));
