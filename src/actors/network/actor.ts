// The tree of a network host: /networks (bridge and DHCP of each, ensured from the database) and /firewall (all rules of the host, rendered
// whole and applied atomically by this one owner).
import { floatingOfHost } from '../../db/addresses.ts';
import { dhcpHostsOfNetwork, neighboursOfNetwork, portsOfHost } from '../../db/networks.ts';
import type { NetworkSpec } from '../../drivers/network/driver.ts';
import type { ActorDefinition, Ref, ReplyTo } from '../runtime/actor.ts';
import { defineEnsurer, ensured, nextTicket, type EnsureMessage } from './coalesce.ts';
import type { NetworkHost } from './host.ts';

export type NetworkMessage =
  /** Answered when everything of this host is as the database says. */
  | { readonly type: 'ensureAll'; readonly replyTo?: ReplyTo<null> }
  | { readonly type: 'dhcpDied'; readonly networkId: string }
  /** Groups or floating addresses changed: at once when it was quiet, otherwise once for all hints of a moment. */
  | { readonly type: 'refreshFirewall' }
  | { readonly type: 'refreshDue' };

interface State extends NetworkTree {
  readonly host: NetworkHost;
  readonly unsubscribe: () => void;
  readonly hints: { notBefore: number; waiting: boolean };
}

const hintIntervalMs = 250;

/** The ensurers that ports are made with. */
export interface NetworkTree {
  readonly networks: ReadonlyMap<string, Ref<EnsureMessage>>;
  readonly firewall: Ref<EnsureMessage>;
}

export interface NetworkArgs {
  readonly host: NetworkHost;
  /** Hands the tree to the role's message handlers, again after a restart. */
  readonly onTree: (tree: NetworkTree) => void;
}

export const networkActor: ActorDefinition<State, NetworkMessage, NetworkArgs> = {
  kind: 'network',
  init(context, { host, onTree }) {
    const networks = new Map(host.networks.map((network) => [
      network.id,
      context.spawn(defineEnsurer('bridge', host.reconcileIntervalMs, () => ensureNetwork(host, network)), network.id, undefined),
    ]));
    const firewall = context.spawn(defineEnsurer('firewall', host.reconcileIntervalMs, () => applyFirewall(host)), 'firewall', undefined);
    onTree({ networks, firewall });
    const unsubscribe = host.driver.subscribe((event) => host.system.tell(context.self, event));
    return { host, networks, firewall, unsubscribe, hints: { notBefore: 0, waiting: false } };
  },
  handle(state, message, context) {
    if (message.type === 'ensureAll') return ensureAll(state, message.replyTo);
    // A network whose server died is ensured even if a run has just begun: that one may have seen it alive.
    if (message.type === 'dhcpDied') return ensureSoon(state, state.networks.get(message.networkId));
    if (message.type === 'refreshDue') return refresh(state);
    const { host, hints } = state;
    if (hints.waiting) return;
    const now = host.clock.now();
    if (now >= hints.notBefore) return refresh(state);
    hints.waiting = true;
    context.after(hints.notBefore - now, { type: 'refreshDue' });
  },
  onError: () => 'resume',
  onChildFailed: () => 'restart',
  onStop: (state) => state.unsubscribe(),
};

function refresh(state: State): void {
  const { host, hints } = state;
  hints.waiting = false;
  hints.notBefore = host.clock.now() + hintIntervalMs;
  ensureSoon(state, state.firewall);
  // Who may speak with one another wants names, too.
  for (const network of host.networks) if (network.flatInterface !== undefined) ensureSoon(state, state.networks.get(network.id));
}

function ensureSoon({ host }: State, ref: Ref<EnsureMessage> | undefined): void {
  if (ref !== undefined) host.system.tell(ref, { type: 'ensure', ticket: nextTicket() });
}

/** The rules first: a bridge without them would be open for a moment. */
async function ensureAll({ host, networks, firewall }: State, replyTo: ReplyTo<null> | undefined): Promise<void> {
  try {
    for (const ref of [firewall, ...networks.values()]) await ensured(host, ref);
    replyTo?.answer(null);
  } catch (error) {
    replyTo?.fail(error);
  }
}

async function ensureNetwork(host: NetworkHost, network: NetworkSpec): Promise<void> {
  const where = { host: host.name, networkId: network.id };
  const [hosts, neighbours] = await Promise.all([
    dhcpHostsOfNetwork(host.db, where), network.flatInterface === undefined ? [] : neighboursOfNetwork(host.db, where),
  ]);
  await host.driver.ensureNetwork(network, hosts, neighbours);
}

async function applyFirewall(host: NetworkHost): Promise<void> {
  const [ports, floating] = await Promise.all([portsOfHost(host.db, host.name), floatingOfHost(host.db, host.name)]);
  await host.driver.applyFirewall({ networks: host.networks, ports, floating, metadataPort: host.metadataPort });
}
