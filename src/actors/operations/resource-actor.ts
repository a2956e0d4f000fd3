// One actor per resource, at its owner: what serialises the operations on it. The work itself runs in a child, so that the actor stays
// responsive: a later wish (terminate) can hurry the present work along.
import type { Db } from '../../db/db.ts';
import { FlowInterrupted } from '../../lib/flow.ts';
import { unfinishedOperations, type Operation } from '../../db/operations.ts';
import type { Ending } from './perform-operation.ts';
import type { ActorContext, ActorDefinition, ActorSystem, Ref } from '../runtime/actor.ts';

export type ResourceMessage = { readonly type: 'work' } | { readonly type: 'finished' };

type WorkerMessage = { readonly type: 'perform' };

export interface ResourceKind {
  /** `instance`, `image`: also the kind of its actor. */
  readonly kind: string;
  readonly db: Db;
  readonly system: ActorSystem;
  /** `compute@host1`: operations of other owners are not touched. */
  readonly owner: string;
  /** Performs one operation to its end. `hurry` is aborted when a later operation waits that makes patience pointless. */
  readonly perform: (operation: Operation, signals: { signal: AbortSignal; hurry: AbortSignal }) => Promise<Ending>;
  /** Operation kinds that hurry the present one. */
  readonly urgent: readonly string[];
}

interface State {
  readonly resourceId: string;
  worker: Ref<WorkerMessage> | undefined;
  /** Work came while busy: look again when the present is finished. */
  again: boolean;
  hurry: AbortController;
}

const idleMs = 10 * 60_000;

export function defineResource(kind: ResourceKind): ActorDefinition<State, ResourceMessage, string> {
  return {
    kind: kind.kind,
    idleMs,
    init: (_context, resourceId) => ({ resourceId, worker: undefined, again: false, hurry: new AbortController() }),
    async handle(state, message, context) {
      if (message.type === 'finished') {
        state.worker = undefined;
        if (state.again) startWork(kind, state, context);
        return;
      }
      if (state.worker === undefined) return startWork(kind, state, context);
      state.again = true;
      const waiting = await unfinishedOperations(kind.db, state.resourceId);
      if (waiting.some((operation) => kind.urgent.includes(operation.kind))) state.hurry.abort();
    },
    onError: () => 'resume',
    // The work failed beyond its restarts; the sweeper will ask for it again.
    onChildFailed: () => 'stop',
  };
}

function startWork(kind: ResourceKind, state: State, context: ActorContext<ResourceMessage>): void {
  state.again = false;
  state.hurry = new AbortController();
  const worker = context.ensure(defineWorker(kind), 'work', { resourceId: state.resourceId, hurry: state.hurry.signal, parent: context.self });
  state.worker = worker;
  context.watch(worker, { type: 'finished' });
}

interface WorkerArgs {
  readonly resourceId: string;
  readonly hurry: AbortSignal;
  readonly parent: Ref<ResourceMessage>;
}

function defineWorker(kind: ResourceKind): ActorDefinition<WorkerArgs, WorkerMessage, WorkerArgs> {
  return {
    kind: `${kind.kind}-work`,
    init(context, args) {
      context.after(0, { type: 'perform' });
      return args;
    },
    async handle(state, _message, context) {
      await performAll(kind, state, context);
      void context.stop(context.self);
    },
  };
}

/** In order. What is wished meanwhile wakes the parent, which begins again after this; what nobody told of the sweeper finds. */
async function performAll(kind: ResourceKind, state: WorkerArgs, { signal, log }: ActorContext<WorkerMessage>): Promise<void> {
  for (const operation of await unfinishedOperations(kind.db, state.resourceId)) {
    if (signal.aborted) return;
    if (operation.owner !== kind.owner) continue;
    // Another has it: what comes after it waits, for the order of the database holds over all of an owner's processes.
    try {
      if ((await kind.perform(operation, { signal, hurry: state.hurry })) === 'lost') return;
    } catch (error) {
      if (!(error instanceof FlowInterrupted) || !signal.aborted) throw error;
      log.info({ operation: operation.id, kind: operation.kind, requestId: operation.requestId }, 'left in the middle, for the next start');
      return;
    }
  }
}
