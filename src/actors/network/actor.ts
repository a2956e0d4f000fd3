// The tree of a network host: a child for each network (bridge, DHCP, router, ensured from the database, or taken away when the last member has
// gone) and /firewall (all rules of the host, rendered whole and applied atomically by this one owner).
import { floatingOfHost } from '../../db/addresses.ts';
import { portsOfHost } from '../../db/networks.ts';
import type { NetworkSpec } from '../../drivers/network/driver.ts';
import type { ActorContext, ActorDefinition, Ref, ReplyTo } from '../runtime/actor.ts';
import { defineEnsurer, ensured, nextTicket, type EnsureMessage } from './coalesce.ts';
import { ensurerOf } from './ensure-network.ts';
import type { NetworkHost } from './host.ts';

export type NetworkMessage =
  /** Answered when everything of this host is as the database says, but for networks of projects that failed or take long: those go on by themselves. */
  | { readonly type: 'ensureAll'; readonly replyTo?: ReplyTo<null> }
  /** Answered when one network is: plumbed while it has members here, and gone otherwise. */
  | { readonly type: 'ensureNetwork'; readonly networkId: string; readonly replyTo: ReplyTo<null> }
  /** Are there networks that this host should have and has not, or has and should not? */
  | { readonly type: 'look' }
  | { readonly type: 'dhcpDied'; readonly networkId: string }
  /** A hint that groups, members or floating addresses changed: at once when it was quiet, otherwise once for all hints of a moment. */
  | { readonly type: 'refreshFirewall' }
  | { readonly type: 'refreshDue' };

type Context = ActorContext<NetworkMessage>;

interface State extends NetworkTree {
  readonly host: NetworkHost;
  readonly networks: Map<string, Ref<EnsureMessage>>;
  readonly unsubscribe: () => void;
  readonly hints: { notBefore: number; waiting: boolean };
}

const hintIntervalMs = 100;
const projectsWaitMs = 25_000;

/** What ports are made with. */
export interface NetworkTree {
  readonly self: Ref<NetworkMessage>;
  readonly firewall: Ref<EnsureMessage>;
}

export interface NetworkArgs {
  readonly host: NetworkHost;
  /** Hands the tree to the role's message handlers, again after a restart. */
  readonly onTree: (tree: NetworkTree) => void;
}

export const networkActor: ActorDefinition<State, NetworkMessage, NetworkArgs> = {
  kind: 'network',
  mailboxMax: 10_000,
  init(context, { host, onTree }) {
    const networks: State['networks'] = new Map();
    // Subnets come and go: whoever renders the rules sees it first.
    const onNetworks = (ids: readonly string[]): void => {
      if (ids.length !== networks.size || ids.some((id) => !networks.has(id))) host.system.tell(context.self, { type: 'look' });
    };
    const firewall = context.spawn(defineEnsurer('firewall', host.reconcileIntervalMs, () => applyFirewall(host, onNetworks)), 'firewall', undefined);
    onTree({ self: context.self, firewall });
    const unsubscribe = host.driver.subscribe((event) => host.system.tell(context.self, event));
    context.every(host.reconcileIntervalMs, { type: 'look' });
    return { host, self: context.self, networks, firewall, unsubscribe, hints: { notBefore: 0, waiting: false } };
  },
  handle(state, message, context) {
    switch (message.type) {
      case 'ensureAll': return ensureAll(state, context, message.replyTo);
      case 'ensureNetwork': return ensureOne(state, context, message);
      case 'look': return look(state, context);
      // A network whose server died is ensured even if a run has just begun: that one may have seen it alive.
      case 'dhcpDied': return ensureSoon(state, state.networks.get(message.networkId));
      case 'refreshDue': return refresh(state);
      case 'refreshFirewall': return hint(state, context);
    }
  },
  onError: () => 'resume',
  onChildFailed: () => 'restart',
  onStop: (state) => state.unsubscribe(),
};

function hint(state: State, context: Context): void {
  const { host, hints } = state;
  if (hints.waiting) return;
  const now = host.clock.now();
  if (now >= hints.notBefore) return refresh(state);
  hints.waiting = true;
  context.after(hints.notBefore - now, { type: 'refreshDue' });
}

function refresh(state: State): void {
  const { host, hints, networks } = state;
  hints.waiting = false;
  hints.notBefore = host.clock.now() + hintIntervalMs;
  ensureSoon(state, state.firewall);
  // Who may speak with one another wants names, too, and hosts that have their first member want to be known.
  for (const ref of networks.values()) host.system.tell(ref, { type: 'ensure', ticket: nextTicket(), isHint: true });
}

function ensureSoon({ host }: State, ref: Ref<EnsureMessage> | undefined): void {
  if (ref !== undefined) host.system.tell(ref, { type: 'ensure', ticket: nextTicket() });
}

/** The child of a network, also of one that this host has not plumbed yet. */
function childOf({ host, networks }: State, context: Context, networkId: string): Ref<EnsureMessage> {
  const known = networks.get(networkId);
  if (known !== undefined) return known;
  const ref = context.spawn(defineEnsurer('bridge', host.reconcileIntervalMs, ensurerOf(host, networkId)), networkId, undefined);
  networks.set(networkId, ref);
  return ref;
}

function ensureOne(state: State, context: Context, { networkId, replyTo }: { networkId: string; replyTo: ReplyTo<null> }): void {
  state.host.system.tell(childOf(state, context, networkId), { type: 'ensure', ticket: nextTicket(), replyTo });
}

/** What is plumbed and not wanted, by this process or one before it, has a child too: it takes the network away. */
async function networksToEnsure(host: NetworkHost): Promise<ReadonlyMap<string, NetworkSpec>> {
  const [wanted, plumbed] = await Promise.all([host.networks(), host.driver.plumbed()]);
  return new Map([...plumbed, ...wanted].map((network) => [network.id, network]));
}

async function look(state: State, context: Context): Promise<void> {
  const there = await networksToEnsure(state.host);
  for (const id of there.keys()) if (!state.networks.has(id)) ensureSoon(state, childOf(state, context, id));
  for (const [id, ref] of state.networks) {
    if (there.has(id)) continue;
    state.networks.delete(id);
    await context.stop(ref);
  }
}

/** The rules first: a bridge without them would be open for a moment. */
async function ensureAll(state: State, context: Context, replyTo: ReplyTo<null> | undefined): Promise<void> {
  const { host, firewall } = state;
  try {
    const all = [...(await networksToEnsure(host)).values()].map((network) => ({ network, ref: childOf(state, context, network.id) }));
    await ensured(host, firewall);
    for (const { network, ref } of all) if (network.router === undefined) await ensured(host, ref);
    await ensureOfProjects(state, all.filter(({ network }) => network.router !== undefined));
    replyTo?.answer(null);
  } catch (error) {
    replyTo?.fail(error);
  }
}

/** One after the other, as long as it may be waited for: what one project's network lacks keeps no other one from its own. */
async function ensureOfProjects(state: State, all: readonly { readonly network: NetworkSpec; readonly ref: Ref<EnsureMessage> }[]): Promise<void> {
  const { host } = state;
  const until = host.clock.now() + projectsWaitMs;
  for (const { network, ref } of all) {
    if (host.clock.now() >= until) {
      ensureSoon(state, ref);
      continue;
    }
    const note = (error: unknown) => host.log.error({ network: network.id, err: error }, 'a network is not there yet: it is tried again');
    await ensured(host, ref).catch(note);
  }
}

async function applyFirewall(host: NetworkHost, onNetworks: (ids: readonly string[]) => void): Promise<void> {
  const [networks, ports, floating] = await Promise.all([host.networks(), portsOfHost(host.db, host.name), floatingOfHost(host.db, host.name)]);
  onNetworks(networks.map((network) => network.id));
  // A member that came between the questions is for the next run, which its own port asks for.
  const known = new Set(networks.map((network) => network.bridge));
  const isKnown = ({ bridge }: { readonly bridge: string }): boolean => known.has(bridge);
  await host.driver.applyFirewall({ networks, ports: ports.filter(isKnown), floating: floating.filter(isKnown), metadataPort: host.metadataPort });
}
