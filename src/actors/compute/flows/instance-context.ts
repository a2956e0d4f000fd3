// What the flows of one instance share: its host, its row, and how to wait for its domain.
import type { Instance } from '../../../db/instance-work.ts';
import { networkProtocol } from '../../../messages/network.ts';
import type { ComputeHost } from '../host.ts';

export interface InstanceContext {
  readonly host: ComputeHost;
  readonly instance: Instance;
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

/** Waits until the domain is not running. False: it still runs at the end of the time, or a later wish cut the wait short. */
export async function waitUntilStopped(context: InstanceContext, timeoutMs: number): Promise<boolean> {
  const { host, instance } = context;
  return waitForEvent(context, timeoutMs, async () => {
    const domains = await host.hypervisor.list(host.cloudId);
    return domains.every((domain) => domain.instanceId !== instance.id || domain.state !== 'running');
  });
}

/** Looks at each event of the hypervisor, and now and then: events can be missed while libvirtd restarts. */
export async function waitForEvent(context: InstanceContext, timeoutMs: number, holds: () => Promise<boolean>): Promise<boolean> {
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
