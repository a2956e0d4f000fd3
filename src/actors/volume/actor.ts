// The tree of a volume host: an actor for each volume or snapshot that is worked on, /exports (one for each volume), a reconciler, a sweeper.
import { renewDeadlines } from '../../db/volume-work.ts';
import type { Handlers } from '../../messages/protocol.ts';
import type { volumeProtocol } from '../../messages/volume.ts';
import { defineResource, type ResourceMessage } from '../operations/resource-actor.ts';
import { defineWorkSweeper, unlessSuperseded } from '../operations/sweep-work.ts';
import type { ActorDefinition, Ref, ReplyTo } from '../runtime/actor.ts';
import { exportsActor, type ExportsMessage, type Settled } from './exports.ts';
import type { VolumeHost } from './host.ts';
import { performVolumeOperation } from './perform-volume-operation.ts';
import { reconcileVolumes } from './reconcile-volumes.ts';

export type VolumeMessage =
  | { readonly type: 'work'; readonly resourceId: string }
  /** The exports of a volume are to be what the database says. */
  | { readonly type: 'settle'; readonly volumeId: string; readonly replyTo?: ReplyTo<Settled> }
  /** Everything may have changed. */
  | { readonly type: 'lookAtAll' };

interface State {
  readonly host: VolumeHost;
  readonly resource: ActorDefinition<unknown, ResourceMessage, string>;
  readonly exports: Ref<FolderMessage>;
  readonly reconciler: Ref<ReconcileMessage>;
  readonly unsubscribe: () => void;
}

/** A volume of hundreds of gigabytes is zeroed or copied in this time. */
const settleTimeoutMs = 60_000;

export const volumeActor: ActorDefinition<State, VolumeMessage, VolumeHost> = {
  kind: 'volume',
  mailboxMax: 10_000,
  init(context, host) {
    const { system, db, owner } = host;
    const exports = context.spawn(exportsFolder(host), 'exports', undefined);
    const settle = (volumeId: string) =>
      system.ask<FolderMessage, Settled>(exports, (replyTo) => ({ volumeId, message: { type: 'settle', replyTo } }), { timeoutMs: settleTimeoutMs });
    const resource = defineResource({
      kind: 'volume-resource', db, system, owner: owner.name, urgent: [],
      perform: (operation, { signal }) => performVolumeOperation({ host, settle }, operation, signal),
    });
    const wake = (resourceId: string) => system.tell(context.self, { type: 'work', resourceId });
    const reconciler = context.spawn(reconcilerActor, 'reconciler', { host, settle });
    context.spawn(defineWorkSweeper({ db, owner, intervalMs: host.limits.sweepIntervalMs, wake }), 'sweeper', undefined);
    const unsubscribe = host.driver.subscribe(({ volumeId }) => system.tell(context.self, { type: 'settle', volumeId }));
    return { host, resource: resource as State['resource'], exports, reconciler, unsubscribe };
  },
  handle(state, message, context) {
    const { system } = state.host;
    if (message.type === 'work') return system.tell(context.ensure(state.resource, message.resourceId, message.resourceId), { type: 'work' });
    if (message.type === 'lookAtAll') return system.tell(state.reconciler, { type: 'reconcile' });
    const { volumeId, ...rest } = message;
    return system.tell(state.exports, { volumeId, message: rest });
  },
  onError: (error) => unlessSuperseded(error, 'resume'),
  onChildFailed: (_child, error) => unlessSuperseded(error, 'restart'),
  onStop: (state) => state.unsubscribe(),
};

/** What this host answers to `volume@<name>`. */
export function volumeHandlers(host: VolumeHost, ref: Ref<VolumeMessage>): Handlers<typeof volumeProtocol.table, unknown> {
  return {
    performOperation: ({ resourceId }) => host.system.tell(ref, { type: 'work', resourceId }),
    settleExports: ({ volumeId }) =>
      host.system.ask<VolumeMessage, Settled>(ref, (replyTo) => ({ type: 'settle', volumeId, replyTo }), { timeoutMs: settleTimeoutMs }),
  };
}

interface FolderMessage {
  readonly volumeId: string;
  readonly message: ExportsMessage;
}

function exportsFolder(host: VolumeHost): ActorDefinition<null, FolderMessage> {
  return {
    kind: 'exports-folder',
    mailboxMax: 10_000,
    init: () => null,
    handle(_state, { volumeId, message }, context) {
      host.system.tell(context.ensure(exportsActor, volumeId, { host, volumeId }), message);
    },
    onError: () => 'resume',
    onChildFailed: () => 'stop',
  };
}

interface ReconcileMessage {
  readonly type: 'reconcile';
}

interface ReconcilerArgs {
  readonly host: VolumeHost;
  readonly settle: (volumeId: string) => Promise<unknown>;
}

/** Work that was kept for this host while it was away has this long from its return. */
const afterReturnMs = 10 * 60_000;

const reconcilerActor: ActorDefinition<ReconcilerArgs & { isFirst: boolean }, ReconcileMessage, ReconcilerArgs> = {
  kind: 'reconciler',
  init(context, args) {
    context.after(0, { type: 'reconcile' });
    context.every(args.host.limits.reconcileIntervalMs, { type: 'reconcile' });
    return { ...args, isFirst: true };
  },
  async handle(state) {
    const { db, clock, owner } = state.host;
    if (state.isFirst) await renewDeadlines(db, owner.name, new Date(clock.now() + afterReturnMs));
    state.isFirst = false;
    await reconcileVolumes(state);
  },
  onError: () => 'resume',
};
