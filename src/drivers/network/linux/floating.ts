// Floating addresses where the outside finds them: on the link by which this host (or a router's namespace) reaches their network, told to the
// neighbours there, and taken away again. An address of novact's is known by the metric it was added with; addresses of others stay.
import { messageOf } from '../../../lib/errors.ts';
import { addressNumber, parseRange } from '../../../lib/ipv4.ts';
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';
import type { Link } from './bridge.ts';
import { checkAddress, checkLinkName } from './names.ts';
import { floatingMap } from './nft-floating.ts';

/** Marks an address as novact's: the kernel keeps and shows it, and for a single address it means nothing else. */
const mark = 2011;

export interface Outside {
  readonly run: Run;
  readonly log: Log;
  /** All addresses go on this link. Unset: each on the link that its route leaves by, as the routes of this host say. */
  readonly uplink?: string | undefined;
}

interface Held {
  readonly device: string;
  readonly address: string;
}

/** As `ip -j route` prints it. */
export interface Route {
  readonly dst: string;
  readonly dev?: string;
  readonly protocol?: string;
  readonly metric?: number;
}

const nowhere = 'lo';

/** The link of the longest route to each address; `lo` where no route leads: then only this host and its guests reach it. */
export function linksOf(routes: readonly Route[], addresses: readonly string[]): Held[] {
  const known = routes.flatMap(({ dst, dev, metric = 0 }) => {
    const range = parseRange(dst === 'default' ? '0.0.0.0/0' : dst);
    return range === undefined || dev === undefined ? [] : [{ ...range, dev, metric }];
  }).toSorted((a, b) => a.last - a.first - (b.last - b.first) || a.metric - b.metric);
  return addresses.map((address) => {
    const value = addressNumber(address);
    return { address, device: known.find(({ first, last }) => first <= value && value <= last)?.dev ?? nowhere };
  });
}

const text = ({ device, address }: Held): string => `${device} ${address}`;

/** What is to change: first `leave`, then the rules, then `arrive`. */
export interface FloatingChange {
  /** Addresses that are not wished for any more are gone from the links: nothing of this host answers by them. */
  leave(): Promise<void>;
  /** Addresses that are wished for are there, and the neighbours hear of those that are new. */
  arrive(): Promise<void>;
}

/** Compares the wish with the links of this host. */
export async function floatingChange({ run, log, uplink }: Outside, wanted: readonly string[]): Promise<FloatingChange> {
  const [held, wished] = await Promise.all([heldAddresses(run), wishedLinks(run, uplink, wanted.map(checkAddress))]);
  const isHeld = new Set(held.map(text));
  const isWished = new Set(wished.map(text));
  return {
    async leave() {
      for (const { device, address } of held.filter((one) => !isWished.has(text(one)))) {
        await run('ip', ['address', 'delete', `${address}/32`, 'dev', device], { okCodes: [0, 2] });
      }
    },
    async arrive() {
      const arriving = wished.filter((one) => !isHeld.has(text(one)));
      for (const { device, address } of arriving) {
        await run('ip', ['address', 'add', `${address}/32`, 'dev', device, 'metric', String(mark)], { okCodes: [0, 2] });
      }
      for (const one of arriving) announce(run, log, one);
    },
  };
}

async function heldAddresses(run: Run): Promise<Held[]> {
  const { stdout } = await run('ip', ['-j', '-4', 'address', 'show']);
  const links = JSON.parse(stdout || '[]') as Partial<Link>[];
  return links.flatMap(({ ifname, addr_info: addresses = [] }) => addresses
    .filter(({ metric, prefixlen }) => metric === mark && prefixlen === 32).map(({ local }) => ({ device: ifname ?? '', address: local })));
}

async function wishedLinks(run: Run, uplink: string | undefined, addresses: readonly string[]): Promise<Held[]> {
  if (addresses.length === 0) return [];
  if (uplink !== undefined) return addresses.map((address) => ({ address, device: checkLinkName(uplink) }));
  const { stdout } = await run('ip', ['-j', '-4', 'route', 'show', 'table', 'main']);
  return linksOf(JSON.parse(stdout || '[]') as Route[], addresses);
}

const announcements = 3;

/** A neighbour that knew the address elsewhere learns where it is now. Not waited for: it is said once a second, and traffic flows meanwhile. */
function announce(run: Run, log: Log, { device, address }: Held): void {
  if (device === nowhere) return;
  run('arping', ['-q', '-U', '-c', String(announcements), '-I', device, address], { okCodes: [0, 1] }).catch((error: unknown) => {
    log.warn({ address, device, error: messageOf(error) }, 'a floating address could not be announced');
  });
}

/** Which guest each floating address leads to by the rules in force; empty where there are none. */
export async function floatingInForce(run: Run, table: string): Promise<Map<string, string>> {
  const { code, stdout } = await run('nft', ['-j', 'list', 'map', 'inet', table, floatingMap], { okCodes: [0, 1] });
  if (code !== 0) return new Map();
  const { nftables = [] } = JSON.parse(stdout) as { nftables?: { map?: { elem?: [string, string][] } }[] };
  return new Map(nftables.flatMap(({ map }) => map?.elem ?? []));
}

/** Connections by an address end when it does not lead to that guest any more: they would go on for as long as somebody speaks. */
export async function endConnections(
  run: Run, log: Log, moved: { readonly before: ReadonlyMap<string, string>; readonly now: ReadonlyMap<string, string> },
): Promise<void> {
  const gone = [...moved.before].filter(([address, fixed]) => moved.now.get(address) !== fixed).map(([address]) => address);
  const wishes = gone.flatMap((address) => ['--orig-dst', '--reply-dst'].map((direction) => [direction, address]));
  await Promise.all(wishes.map((which) => run('conntrack', ['-D', ...which], { okCodes: [0, 1] }).catch((error: unknown) => {
    log.warn({ which, error: messageOf(error) }, 'connections by a floating address that moved were not ended');
  })));
}
