// What the flows of one instance share: its host, its row, and how to wait for its domain.
import type { Instance } from '../../../db/instance-work.ts';
import { networkProtocol } from '../../../messages/network.ts';
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

const portTimeoutMs = 30_000;

/** What `ensurePort` answered. */
export interface Port {
  readonly bridge: string;
  readonly tap: string;
  readonly mac: string;
  readonly address: string;
}

export function ensurePort(context: InstanceContext): Promise<Port> {
  const { host, instance, requestId } = context;
  const options = { timeoutMs: portTimeoutMs, requestId };
  return host.transport.ask({ role: 'network', host: host.name }, networkProtocol, 'ensurePort', { instanceId: instance.id }, options);
}

export async function removePort(context: InstanceContext): Promise<void> {
  const { host, instance, requestId } = context;
  const options = { timeoutMs: portTimeoutMs, requestId };
  await host.transport.ask({ role: 'network', host: host.name }, networkProtocol, 'removePort', { instanceId: instance.id }, options);
}

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
