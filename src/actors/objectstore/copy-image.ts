// image.copy: from an available image to another that does not depend on it.
//   keep     a blob of the copy's own with the content of the source, if that has any beside its snapshots   − removed
//   publish  the row says available                                                                          − pending again
import { loadImage, withdrawImage, type ImageFacts } from '../../db/image-work.ts';
import { failInstanceImage, publishInstanceImage, withdrawInstanceImage } from '../../db/instance-images.ts';
import type { Operation } from '../../db/operations.ts';
import type { Flow, StepOutputs } from '../../lib/flow.ts';
import { publishBlob, type ImageContext } from './register-image.ts';

/** Null: it boots from a snapshot, and has no content. */
interface Copied {
  readonly content: ImageFacts | null;
}

export const copyImage: Flow<ImageContext> = {
  name: 'image.copy',
  steps: [
    { name: 'keep', do: keep, undo: discard },
    { name: 'publish', do: publish, undo: withdraw },
  ],
};

/** A repetition makes a second name for the same content; the sweeper removes the one that nothing refers to. */
async function keep({ db, store, input, image }: ImageContext): Promise<Copied> {
  const source = await loadImage(db, String(input['sourceImageId']));
  if (source?.state !== 'available') throw new Error(`the source image ${String(input['sourceImageId'])} was deregistered meanwhile`);
  const { format, sizeBytes, virtualSizeBytes, sha256, blobId } = source;
  if (format === null || sizeBytes === null || virtualSizeBytes === null || sha256 === null || blobId === null) {
    if (image.devices.some(({ device }) => device === image.rootDeviceName)) return { content: null };
    throw new Error(`the source image ${source.id} has no content`);
  }
  return { content: { format, sizeBytes, virtualSizeBytes, sha256, blobId: await store.link(blobId) } };
}

async function discard({ store }: ImageContext, outputs: StepOutputs): Promise<void> {
  const content = (outputs['keep'] as Copied | undefined | null)?.content;
  if (content !== undefined && content !== null) await store.remove(content.blobId);
}

async function publish(context: ImageContext, outputs: StepOutputs): Promise<void> {
  const { content } = outputs['keep'] as Copied;
  if (content !== null) return publishBlob(context, content);
  const { db, clock, image } = context;
  if (!(await publishInstanceImage(db, image.id, clock.date()))) throw new Error('the image was deregistered meanwhile');
}

function withdraw({ db, clock, image }: ImageContext, outputs: StepOutputs): Promise<void> {
  const content = (outputs['keep'] as Copied | undefined | null)?.content;
  return (content ?? null) === null ? withdrawInstanceImage(db, image.id, clock.date()) : withdrawImage(db, image.id, clock.date());
}

const deleteMs = 60 * 60_000;

/** The snapshots that were copied for it go, too. */
export async function afterFailedCopy({ db, clock, image, input }: ImageContext, operation: Operation, error: string): Promise<void> {
  const { requestId } = operation;
  const snapshotIds = (input['snapshotIds'] ?? []) as string[];
  await failInstanceImage(db, { imageId: image.id, snapshotIds, reason: error, requestId, deadline: new Date(clock.now() + deleteMs) }, clock.date());
}
