// The scheduler's tree: a placer that settles instances in batches, one for volumes, a worker for drains and evacuations, a watcher of hosts, and the sweeper.
import { hostWork } from '../../db/host-work.ts';
import { unplacedIds } from '../../db/placement.ts';
import { unplacedVolumeIds } from '../../db/volume-hosts.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Delivery } from '../../transport/transport.ts';
import type { ActorContext, ActorDefinition, ActorSystem, Ref } from '../runtime/actor.ts';
import type { Handlers } from '../../messages/protocol.ts';
import type { schedulerProtocol } from '../../messages/scheduler.ts';
import { advanceHostWork } from './host-work.ts';
import { settleUnplaced, type SchedulerDeps } from './place-instances.ts';
import { endOverdueStates, settleUnplacedVolume } from './place-volumes.ts';
import { hostWatcher } from './watch-hosts.ts';

export type SchedulerMessage =
  | { readonly type: 'place'; readonly instanceId: string }
  | { readonly type: 'placeVolume'; readonly volumeId: string }
  /** A drain or an evacuation has something to do. */
  | { readonly type: 'hostWork'; readonly operationId: string }
  | { readonly type: 'sweep' };

export interface SchedulerArgs {
  readonly system: ActorSystem;
  readonly deps: SchedulerDeps;
  readonly sweepIntervalMs: number;
  /** Silence after which a host counts as down. */
  readonly serviceDownMs: number;
}

/** What the mailbox of the schedulers is served with. */
export const schedulerHandlers = (system: ActorSystem, ref: Ref<SchedulerMessage>): Handlers<(typeof schedulerProtocol)['table'], Delivery> => ({
  placeInstance: ({ instanceId }) => system.tell(ref, { type: 'place', instanceId }),
  placeVolume: ({ volumeId }) => system.tell(ref, { type: 'placeVolume', volumeId }),
  performOperation: ({ operationId }) => system.tell(ref, { type: 'hostWork', operationId }),
  operationEnded: ({ actor }) => system.tell(ref, { type: 'hostWork', operationId: actor }),
});

interface State extends SchedulerArgs {
  readonly placer: Ref<PlacerMessage>;
  readonly volumePlacer: Ref<VolumePlacerMessage>;
  readonly hostWorker: Ref<HostWorkMessage>;
}

type HostWorkMessage = { readonly type: 'hostWork'; readonly operationId: string };

const hostWorker: ActorDefinition<SchedulerDeps, HostWorkMessage, SchedulerDeps> = {
  kind: 'host-worker',
  mailboxMax: 10_000,
  init: (_context, deps) => deps,
  handle: (deps, { operationId }) => advanceHostWork(deps, operationId),
  // The sweeper asks again.
  onError: () => 'resume',
};

type VolumePlacerMessage = { readonly type: 'placeVolume'; readonly volumeId: string } | { readonly type: 'endOverdue' };

const volumePlacer: ActorDefinition<SchedulerDeps, VolumePlacerMessage, SchedulerDeps> = {
  kind: 'volume-placer',
  mailboxMax: 20_000,
  init: (_context, deps) => deps,
  handle: (deps, message) => (message.type === 'placeVolume' ? settleUnplacedVolume(deps, message.volumeId) : endOverdueStates(deps)),
  // The sweeper asks again.
  onError: () => 'resume',
};

type PlacerMessage = { readonly type: 'place'; readonly instanceId: string } | { readonly type: 'settle' };

interface PlacerState {
  readonly deps: SchedulerDeps;
  /** In the order of arrival, each once. */
  readonly waiting: Set<string>;
  isAsked: boolean;
}

const batchMax = 50;
const sweptMax = 5_000;

const placer: ActorDefinition<PlacerState, PlacerMessage, SchedulerDeps> = {
  kind: 'placer',
  mailboxMax: 20_000,
  init: (_context, deps) => ({ deps, waiting: new Set(), isAsked: false }),
  async handle(state, message, context) {
    if (message.type === 'place') state.waiting.add(message.instanceId);
    else await settleBatch(state);
    ask(state, context);
  },
  // The sweeper brings back what was in hand.
  onError: () => 'resume',
};

/** What comes while a batch is settled makes the next one. */
function ask(state: PlacerState, context: ActorContext<PlacerMessage>): void {
  if (state.isAsked || state.waiting.size === 0) return;
  state.isAsked = true;
  context.after(0, { type: 'settle' });
}

async function settleBatch(state: PlacerState): Promise<void> {
  state.isAsked = false;
  const batch = [...state.waiting].slice(0, batchMax);
  for (const id of batch) state.waiting.delete(id);
  try {
    await settleUnplaced(state.deps, batch);
  } catch (error) {
    if (batch.length <= 1) throw error;
    // One of them may be the reason: it must not hold up the others.
    state.deps.log.warn({ error: messageOf(error), count: batch.length }, 'a batch was not placed: they are settled one by one');
    for (const id of batch) await settleAlone(state.deps, id);
  }
}

async function settleAlone(deps: SchedulerDeps, instanceId: string): Promise<void> {
  try {
    await settleUnplaced(deps, [instanceId]);
  } catch (error) {
    deps.log.error({ err: error, instance: instanceId }, 'an instance was not settled: it is tried again with the next sweep');
  }
}

export const schedulerActor: ActorDefinition<State, SchedulerMessage, SchedulerArgs> = {
  kind: 'scheduler',
  mailboxMax: 20_000,
  init(context, args) {
    context.after(0, { type: 'sweep' });
    context.every(args.sweepIntervalMs, { type: 'sweep' });
    context.spawn(hostWatcher, 'watcher', { ...args.deps, serviceDownMs: args.serviceDownMs });
    return {
      ...args,
      placer: context.spawn(placer, 'placer', args.deps),
      volumePlacer: context.spawn(volumePlacer, 'volumes', args.deps),
      hostWorker: context.spawn(hostWorker, 'hosts', args.deps),
    };
  },
  async handle(state, message) {
    if (message.type === 'place') return state.system.tell(state.placer, message);
    if (message.type === 'placeVolume') return state.system.tell(state.volumePlacer, message);
    if (message.type === 'hostWork') return state.system.tell(state.hostWorker, message);
    for (const operationId of await hostWork(state.deps.db)) state.system.tell(state.hostWorker, { type: 'hostWork', operationId });
    for (const instanceId of await unplacedIds(state.deps.db, sweptMax)) state.system.tell(state.placer, { type: 'place', instanceId });
    for (const volumeId of await unplacedVolumeIds(state.deps.db, sweptMax)) state.system.tell(state.volumePlacer, { type: 'placeVolume', volumeId });
    state.system.tell(state.volumePlacer, { type: 'endOverdue' });
  },
  onError: () => 'resume',
  onChildFailed: () => 'restart',
};
