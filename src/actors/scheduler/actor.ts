// The scheduler's tree: a placer that settles one instance after another, and its sweeper.
import { unplacedInstances } from '../../db/instance-work.ts';
import type { ActorDefinition, ActorSystem, Ref } from '../runtime/actor.ts';
import { settleUnplaced, type SchedulerDeps } from './place-instance.ts';

export type SchedulerMessage = { readonly type: 'place'; readonly instanceId: string } | { readonly type: 'sweep' };

export interface SchedulerArgs {
  readonly system: ActorSystem;
  readonly deps: SchedulerDeps;
  readonly sweepIntervalMs: number;
}

interface State {
  readonly placer: Ref<PlacerMessage>;
}

type PlacerMessage = { readonly type: 'place'; readonly instanceId: string };

const placer: ActorDefinition<SchedulerDeps, PlacerMessage, SchedulerDeps> = {
  kind: 'placer',
  mailboxMax: 10_000,
  init: (_context, deps) => deps,
  handle: (deps, message) => settleUnplaced(deps, message.instanceId),
  onError: () => 'resume',
};

export const schedulerActor: ActorDefinition<State & SchedulerArgs, SchedulerMessage, SchedulerArgs> = {
  kind: 'scheduler',
  mailboxMax: 10_000,
  init(context, args) {
    context.after(0, { type: 'sweep' });
    context.every(args.sweepIntervalMs, { type: 'sweep' });
    return { ...args, placer: context.spawn(placer, 'placer', args.deps) };
  },
  async handle(state, message) {
    if (message.type === 'place') return state.system.tell(state.placer, message);
    for (const instance of await unplacedInstances(state.deps.db)) state.system.tell(state.placer, { type: 'place', instanceId: instance.id });
  },
  onError: () => 'resume',
  onChildFailed: () => 'restart',
};
