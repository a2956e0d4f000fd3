// The tree of a compute host: /instances (an actor each), /images (an actor each while fetching), a reconciler, a sweeper.
import { defineResource, type ResourceMessage } from '../operations/resource-actor.ts';
import { defineWorkSweeper, unlessSuperseded } from '../operations/sweep-work.ts';
import type { computeProtocol } from '../../messages/compute.ts';
import type { Handlers } from '../../messages/protocol.ts';
import type { ActorContext, ActorDefinition, ActorSystem, Ref, ReplyTo } from '../runtime/actor.ts';
import { instanceDirectory, type ComputeHost } from './host.ts';
import { imageActor, type FetchMessage } from './image-cache.ts';
import { incomingActor, incomingState, type IncomingMessage, type IncomingPlace } from './incoming.ts';
import { performInstanceOperation } from './perform-instance-operation.ts';
import { copyVolume, growVolume } from './volumes.ts';
import { lookAtInstances, reconcileInstances, type Reconciliation } from './reconcile-instances.ts';

export type ComputeMessage =
  | { readonly type: 'work'; readonly instanceId: string }
  /** An instance of another host is on its way here. */
  | { readonly type: 'incoming'; readonly instanceId: string; readonly message: IncomingMessage }
  /** Without an id: everything may have changed. */
  | { readonly type: 'hypervisorChanged'; readonly instanceId?: string };

export interface ComputeArgs {
  readonly host: ComputeHost;
  /** Given when the machine was restarted since novact last looked after its guests; called when they are looked after again. */
  readonly hostRestarted: (() => Promise<void>) | undefined;
}

interface State {
  readonly host: ComputeHost;
  readonly instances: Ref<ChildMessage<ResourceMessage>>;
  readonly incoming: Ref<ChildMessage<IncomingMessage>>;
  readonly reconciler: Ref<ReconcileMessage>;
  readonly unsubscribe: () => void;
}

export const computeActor: ActorDefinition<State, ComputeMessage, ComputeArgs> = {
  kind: 'compute',
  mailboxMax: 10_000,
  init(context, args) {
    const { host } = args;
    const { system } = host;
    const images = context.spawn(folder(system, 'images', imageActor, (imageId) => ({ host, imageId })), 'images', undefined);
    const fetchImage = (imageId: string) =>
      system.ask<ChildMessage<FetchMessage>, string>(
        images, (replyTo) => ({ name: imageId, message: { type: 'fetch', replyTo } }), { timeoutMs: host.limits.imageFetchMs },
      );
    const instance = defineResource({
      kind: 'instance', db: host.db, system, owner: host.owner.name, urgent: ['instance.terminate'],
      perform: (operation, signals) => performInstanceOperation({ host, fetchImage }, operation, signals),
    });
    const instances = context.spawn(folder(system, 'instances', instance, (id) => id), 'instances', undefined);
    const incoming = context.spawn(folder(system, 'incoming', incomingActor, (instanceId) => ({ host, instanceId, fetchImage })), 'incoming', undefined);
    const wake = (instanceId: string) => system.tell(context.self, { type: 'work', instanceId });
    const reconciler = context.spawn(reconcilerActor, 'reconciler', { ...args, wake });
    context.spawn(defineWorkSweeper({ db: host.db, owner: host.owner, intervalMs: host.limits.sweepIntervalMs, wake }), 'sweeper', undefined);
    const unsubscribe = host.hypervisor.subscribe((event) => {
      if (event.type === 'connected') system.tell(context.self, { type: 'hypervisorChanged' });
      else if (event.type === 'domain') system.tell(context.self, { type: 'hypervisorChanged', instanceId: event.instanceId });
    });
    return { host, instances, incoming, reconciler, unsubscribe };
  },
  handle(state, message) {
    const { system } = state.host;
    if (message.type === 'work') system.tell(state.instances, { name: message.instanceId, message: { type: 'work' } });
    else if (message.type === 'incoming') system.tell(state.incoming, { name: message.instanceId, message: message.message });
    else system.tell(state.reconciler, { ...message, type: 'soon' });
  },
  onError: (error) => unlessSuperseded(error, 'resume'),
  onChildFailed: (_child, error) => unlessSuperseded(error, 'restart'),
  onStop: (state) => state.unsubscribe(),
};

/** What this host answers to `compute@<name>`. */
export function computeHandlers(host: ComputeHost, ref: Ref<ComputeMessage>): Handlers<typeof computeProtocol.table, unknown> {
  const incoming = <Answer>(instanceId: string, ask: (replyTo: ReplyTo<Answer>) => IncomingMessage, timeoutMs: number): Promise<Answer> =>
    host.system.ask<ComputeMessage, Answer>(ref, (replyTo) => ({ type: 'incoming', instanceId, message: ask(replyTo) }), { timeoutMs });
  const moveMs = host.moves?.moveMs ?? host.limits.imageFetchMs;
  return {
    performOperation: ({ instanceId }) => host.system.tell(ref, { type: 'work', instanceId }),
    readConsole: ({ instanceId }) => readConsole(host, instanceId),
    volumeGrew: (grown) => growVolume(host, grown),
    copyVolume: (copy) => copyVolume(host, copy),
    prepareIncoming: ({ instanceId, ...wish }) =>
      incoming<IncomingPlace>(instanceId, (replyTo) => ({ type: 'prepare', ...wish, replyTo }), host.limits.imageFetchMs),
    receiveIncoming: ({ instanceId, ...wish }) => incoming<Record<string, never>>(instanceId, (replyTo) => ({ type: 'receive', ...wish, replyTo }), moveMs),
    forgetIncoming: ({ instanceId, ...wish }) => incoming<Record<string, never>>(instanceId, (replyTo) => ({ type: 'forget', ...wish, replyTo }), moveMs),
    incomingState: async ({ instanceId }) => ({ state: await incomingState(host, instanceId) }),
  };
}

/** The last 64 KiB of a guest's console, for the answer to `readConsole`. */
export async function readConsole(host: ComputeHost, instanceId: string): Promise<{ output: string; timestamp: string }> {
  const output = await host.hypervisor.console({ instanceId, directory: instanceDirectory(host, instanceId) });
  return { output: output.toString('base64'), timestamp: host.clock.date().toISOString() };
}

interface ChildMessage<Message> {
  readonly name: string;
  readonly message: Message;
}

/** A parent whose children are spawned on demand, by name. */
function folder<S, M, A>(
  system: ActorSystem, kind: string, child: ActorDefinition<S, M, A>, args: (name: string) => A,
): ActorDefinition<null, ChildMessage<M>> {
  return {
    kind,
    mailboxMax: 10_000,
    init: () => null,
    handle(_state, { name, message }, context) {
      system.tell(context.ensure(child, name, args(name)), message);
    },
    onError: () => 'resume',
    onChildFailed: () => 'stop',
  };
}

type ReconcileMessage =
  /** An event: its domain is looked at, or, without a name, everything. */
  | { readonly type: 'soon'; readonly instanceId?: string }
  | { readonly type: 'look' }
  | { readonly type: 'reconcile' };

interface ReconcilerState extends ComputeArgs {
  readonly wake: (instanceId: string) => void;
  /** What events have named since the last look. */
  named: Set<string>;
  everything: boolean;
  pending: { cancel(): void } | undefined;
  hostRestarted: (() => Promise<void>) | undefined;
  purgedAt: number;
}

/** Events come in bursts; one look after the burst is enough. */
const settleMs = 100;
/** What is purged is the whole cloud's: each host does it, but seldom. */
const purgeIntervalMs = 300_000;

const reconcilerActor: ActorDefinition<ReconcilerState, ReconcileMessage, ComputeArgs & { wake: (instanceId: string) => void }> = {
  kind: 'reconciler',
  mailboxMax: 10_000,
  init(context, args) {
    context.after(0, { type: 'reconcile' });
    context.every(args.host.limits.reconcileIntervalMs, { type: 'reconcile' });
    return { ...args, named: new Set(), everything: false, pending: undefined, purgedAt: Number.NEGATIVE_INFINITY };
  },
  handle(state, message, context) {
    if (message.type === 'soon') return soon(state, message.instanceId, context);
    return message.type === 'look' ? look(state) : reconcile(state);
  },
  onError: () => 'resume',
};

function soon(state: ReconcilerState, instanceId: string | undefined, context: ActorContext<ReconcileMessage>): void {
  if (instanceId === undefined) state.everything = true;
  else state.named.add(instanceId);
  state.pending ??= context.after(settleMs, { type: 'look' });
}

async function look(state: ReconcilerState): Promise<void> {
  state.pending = undefined;
  if (state.everything) return reconcile(state);
  const { named } = state;
  state.named = new Set();
  if (named.size > 0) wakeAll(state, await lookAtInstances(state.host, named, { hostRestarted: state.hostRestarted !== undefined }));
}

async function reconcile(state: ReconcilerState): Promise<void> {
  state.everything = false;
  const now = state.host.clock.now();
  const purge = now - state.purgedAt >= purgeIntervalMs;
  const found = await reconcileInstances(state.host, { hostRestarted: state.hostRestarted !== undefined, purge });
  if (purge) state.purgedAt = now;
  await state.hostRestarted?.();
  state.hostRestarted = undefined;
  wakeAll(state, found);
}

function wakeAll(state: ReconcilerState, { wake }: Reconciliation): void {
  for (const instanceId of wake) state.wake(instanceId);
}
