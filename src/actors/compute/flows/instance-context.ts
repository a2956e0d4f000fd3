// What the flows of one instance share: its host, its row, and how to wait for its domain.
import type { Instance } from '../../../db/instance-work.ts';
import { networkProtocol } from '../../../messages/network.ts';
import { retry } from '../../../lib/retry.ts';
import { TransportError, type Address, type SendOptions } from '../../../transport/transport.ts';
import type { ComputeHost } from '../host.ts';

export interface InstanceContext {
  readonly host: ComputeHost;
  readonly instance: Instance;
  readonly operationId: string;
  readonly requestId: string;
  readonly input: Readonly<Record<string, unknown>>;
  /** Makes an image present in this host's cache, and returns its path. */
  readonly fetchImage: (imageId: string) => Promise<string>;
  /** The process is stopping. */
  readonly signal: AbortSignal;
  /** A later wish makes patience pointless. */
  readonly hurry: AbortSignal;
}

/** Both verbs ensure a state, so asking again is safe: a question is lost with the mailbox or the process that had it. */
const portTries = { timeoutMs: 15_000, triesMax: 6, firstDelayMs: 250, delayMsMax: 4_000 };

/** What `ensurePort` answered. */
export interface Port {
  readonly bridge: string;
  readonly tap: string;
  readonly mac: string;
  readonly address: string;
}

export function ensurePort(context: InstanceContext): Promise<Port> {
  return askNetwork(context, (to, options) => context.host.transport.ask(to, networkProtocol, 'ensurePort', { instanceId: context.instance.id }, options));
}

export async function removePort(context: InstanceContext): Promise<void> {
  await askNetwork(context, (to, options) => context.host.transport.ask(to, networkProtocol, 'removePort', { instanceId: context.instance.id }, options));
}

/** Asks the network role of this host until it answers. What it refuses is not asked again. */
function askNetwork<T>(context: InstanceContext, ask: (to: Address, options: SendOptions) => Promise<T>): Promise<T> {
  const { host, requestId } = context;
  return askUntilHeard(context, (timeoutMs) => ask({ role: 'network', host: host.name }, { timeoutMs, requestId }));
}

/** Asks for what ensures a state, until there is an answer. */
export function askUntilHeard<T>(
  { host, signal, hurry }: Pick<InstanceContext, 'host' | 'signal' | 'hurry'>, ask: (timeoutMs: number) => Promise<T>,
): Promise<T> {
  const { timeoutMs, ...tries } = portTries;
  return retry(() => ask(timeoutMs), { clock: host.clock, signal, ...tries, mayRetry: (error) => !signal.aborted && !hurry.aborted && isUnheard(error) });
}

const isUnheard = (error: unknown): boolean =>
  error instanceof TransportError && (['timeout', 'expired', 'unavailable', 'mailboxFull'].includes(error.kind) || error.remote?.code === 'unavailable');

/** True when no domain of this instance runs. */
export async function isStopped({ host, instance }: InstanceContext): Promise<boolean> {
  return (await host.hypervisor.list(host.cloudId)).every((domain) => domain.instanceId !== instance.id || domain.state !== 'running');
}

/** Asks the guest, and again now and then: a guest that is still booting does not hear. True when what was asked for holds in time. */
export async function askUntil(context: InstanceContext, timeoutMs: number, ask: () => Promise<void>, holds: () => Promise<boolean>): Promise<boolean> {
  const end = context.host.clock.now() + timeoutMs;
  while (context.host.clock.now() < end && !context.signal.aborted && !context.hurry.aborted) {
    await ask();
    if (await waitForEvent(context, Math.min(askAgainMs, end - context.host.clock.now()), holds)) return true;
  }
  return false;
}

const askAgainMs = 10_000;

/** Looks at each event of the hypervisor, and now and then: events can be missed while libvirtd restarts. */
async function waitForEvent(context: InstanceContext, timeoutMs: number, holds: () => Promise<boolean>): Promise<boolean> {
  const { host } = context;
  const end = host.clock.now() + timeoutMs;
  while (!context.signal.aborted && !context.hurry.aborted) {
    const event = nextEvent(context, Math.min(1_000, Math.max(0, end - host.clock.now())));
    try {
      if (await holds()) return true;
      if (host.clock.now() >= end) return false;
      await event.happened;
    } finally {
      event.cancel();
    }
  }
  return false;
}

function nextEvent(context: InstanceContext, timeoutMs: number): { happened: Promise<void>; cancel: () => void } {
  let cancel: () => void = () => undefined;
  const happened = new Promise<void>((resolve) => {
    const unsubscribe = context.host.hypervisor.subscribe((event) => {
      if (event.type !== 'domain' || event.instanceId === context.instance.id) cancel();
    });
    const timer = context.host.clock.after(timeoutMs, () => cancel());
    const onAbort = () => cancel();
    context.signal.addEventListener('abort', onAbort);
    context.hurry.addEventListener('abort', onAbort);
    cancel = () => {
      unsubscribe();
      timer.cancel();
      context.signal.removeEventListener('abort', onAbort);
      context.hurry.removeEventListener('abort', onAbort);
      resolve();
    };
  });
  return { happened, cancel };
}
