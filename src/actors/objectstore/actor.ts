// The tree of the objectstore: /registrations (an actor each while an image is worked on), a sweeper of operations, those of blobs and
// one of what lifecycle rules let expire.
import { loadImage } from '../../db/image-work.ts';
import { finishOperation, type Operation } from '../../db/operations.ts';
import type { Flow } from '../../lib/flow.ts';
import type { Log } from '../../lib/log.ts';
import { defineResource } from '../operations/resource-actor.ts';
import { performOperation, type Ending, type Owner } from '../operations/perform-operation.ts';
import { defineWorkSweeper } from '../operations/sweep-work.ts';
import type { ActorDefinition, ActorSystem } from '../runtime/actor.ts';
import { afterFailedCopy, copyImage } from './copy-image.ts';
import { afterFailedImport, importImage } from './import-image.ts';
import { afterFailedImage, deregisterImage, registerImage, type ImageContext } from './register-image.ts';
import { unbundleImage } from './unbundle-image.ts';

export type ObjectstoreMessage = { readonly type: 'work'; readonly imageId: string };

export interface Sweep {
  readonly intervalMs: number;
  readonly run: () => Promise<void>;
}

export interface ObjectstoreArgs extends Omit<ImageContext, 'image' | 'input' | 'signal' | 'log'> {
  readonly log: Log;
  readonly system: ActorSystem;
  readonly owner: Owner;
  readonly sweepIntervalMs: number;
  /** Removes what was let go of. */
  readonly sweepReleased: Sweep;
  /** Ends pending images on which nobody works. */
  readonly sweepImages: Sweep;
  /** Does what the lifecycle rules of buckets say. */
  readonly expireObjects: Sweep;
  /** Looks at every blob for those that nothing names: rarely. */
  readonly sweepOrphans: Sweep;
}

type State = { readonly image: ActorDefinition<unknown, { type: 'work' } | { type: 'finished' }, string>; readonly system: ActorSystem };

export const objectstoreActor: ActorDefinition<State, ObjectstoreMessage, ObjectstoreArgs> = {
  kind: 'objectstore',
  mailboxMax: 10_000,
  init(context, args) {
    const { db, system, owner } = args;
    const image = defineResource({
      kind: 'image', db, system, owner: owner.name, urgent: ['image.deregister'],
      perform: (operation, { signal }) => performImageOperation(args, operation, signal),
    });
    const wake = (imageId: string) => system.tell(context.self, { type: 'work', imageId });
    context.spawn(defineWorkSweeper({ db, owner, intervalMs: args.sweepIntervalMs, wake }), 'sweeper', undefined);
    context.spawn(blobSweeper, 'released-blobs', args.sweepReleased);
    context.spawn(blobSweeper, 'abandoned-images', args.sweepImages);
    context.spawn(blobSweeper, 'expired-objects', args.expireObjects);
    context.spawn(blobSweeper, 'orphan-blobs', args.sweepOrphans);
    return { image: image as State['image'], system };
  },
  handle(state, message, context) {
    state.system.tell(context.ensure(state.image, message.imageId, message.imageId), { type: 'work' });
  },
  onError: () => 'resume',
  onChildFailed: () => 'restart',
};

interface Work {
  readonly flow: Flow<ImageContext>;
  /** All is undone: the image says why. */
  readonly onFailed: (context: ImageContext, operation: Operation, error: string) => Promise<void>;
}

const failImage: Work['onFailed'] = (context, _operation, error) => afterFailedImage(context, error);

const work: Readonly<Record<string, Work>> = {
  'image.register': { flow: registerImage, onFailed: failImage },
  'image.unbundle': { flow: unbundleImage, onFailed: failImage },
  'image.copy': { flow: copyImage, onFailed: afterFailedCopy },
  'image.import': { flow: importImage, onFailed: afterFailedImport },
  'image.deregister': { flow: deregisterImage, onFailed: failImage },
};

async function performImageOperation(args: ObjectstoreArgs, operation: Operation, signal: AbortSignal): Promise<Ending> {
  const { db, clock, log, owner } = args;
  const image = await loadImage(db, operation.resourceId);
  const known = Object.hasOwn(work, operation.kind) ? work[operation.kind] : undefined;
  if (image === undefined || known === undefined) {
    await finishOperation(db, operation.id, { state: 'failed', error: `there is no image ${operation.resourceId} or no flow ${operation.kind}` }, clock.date());
    return 'failed';
  }
  const context: ImageContext = { ...args, image, input: operation.input, signal };
  return performOperation({
    db, clock, log, owner, operation, flow: known.flow, signal, context,
    async onFailed(error) {
      await known.onFailed(context, operation, error);
      return false;
    },
  });
}

const blobSweeper: ActorDefinition<Sweep, { readonly type: 'sweep' }, Sweep> = {
  kind: 'sweeper',
  init(context, sweep) {
    context.every(sweep.intervalMs, { type: 'sweep' });
    return sweep;
  },
  handle: (sweep) => sweep.run(),
  onError: () => 'resume',
};
