// image.register: from an uploaded object to an available image.
//   decrypt  a copy for the tools that look at disks, if the object is encrypted at rest: images are not   − removed
//   inspect  what the object is, under limits; its size and checksum
//   keep     a blob of the image's own, independent of the object      − removed
//   publish  the row says available                                    − pending again
import type { Readable } from 'node:stream';
import { createHash } from 'node:crypto';
import { failImage, publishImage, releaseBlob, withdrawImage, type Image, type ImageFacts } from '../../db/image-work.ts';
import { findObject, type StoredObject } from '../../db/objects.ts';
import type { Db } from '../../db/db.ts';
import type { DiskDriver } from '../../drivers/disk/driver.ts';
import { copyBlob, isEncrypted, type ObjectStoreDriver } from '../../drivers/objectstore/driver.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Flow, StepOutputs } from '../../lib/flow.ts';
import type { Log } from '../../lib/log.ts';

export interface ImageLimits {
  readonly virtualSizeBytesMax: number;
  /** Kernels and ramdisks are read whole into a guest's memory. */
  readonly bootFileBytesMax: number;
  readonly inspectMs: number;
}

export interface ImageContext {
  readonly db: Db;
  readonly clock: Clock;
  readonly store: ObjectStoreDriver;
  readonly disk: DiskDriver;
  readonly image: Image;
  readonly input: Readonly<Record<string, unknown>>;
  readonly limits: ImageLimits;
  /** Decrypts what was encrypted to the cloud's certificate for bundles. Error: DriverError `failed`. */
  readonly decrypt: (encrypted: Buffer) => Promise<string>;
  /** Aborted when the process stops: what takes long ends then, and is begun anew by the next start. */
  readonly signal?: AbortSignal;
  readonly log?: Log;
}

export interface Inspected {
  readonly format: 'raw' | 'qcow2';
  readonly sizeBytes: number;
  readonly virtualSizeBytes: number;
  readonly sha256: string;
}

export const registerImage: Flow<ImageContext> = {
  name: 'image.register',
  steps: [
    { name: 'decrypt', do: decrypt, undo: ({ store }, outputs) => discard(store, outputs['decrypt']) },
    { name: 'inspect', do: inspect },
    { name: 'keep', do: keep, undo: ({ store }, outputs) => discard(store, outputs['keep']) },
    { name: 'publish', do: publish, undo: ({ db, clock, image }) => withdrawImage(db, image.id, clock.date()) },
  ],
};

interface Kept {
  readonly blobId: string;
}

/** Null: it is not encrypted. A repetition makes another copy; the sweeper removes the one that nothing refers to. */
async function decrypt(context: ImageContext): Promise<Kept | null> {
  const { blobId, sizeBytes } = await source(context);
  if (!isEncrypted(blobId)) return null;
  checkBootFile(context, sizeBytes);
  return { blobId: await copyBlob(context.store, blobId, { isEncrypted: false }) };
}

async function source({ db, image, input }: ImageContext): Promise<StoredObject> {
  const object = await findObject(db, String(input['bucket']), String(input['key']));
  if (object === undefined) throw new Error(`${image.location}: the object does not exist any more`);
  return object;
}

async function inspect(context: ImageContext, outputs: StepOutputs): Promise<Inspected & { sourceBlobId: string }> {
  const { blobId } = decryptedBy(outputs) ?? (await source(context));
  return { sourceBlobId: blobId, ...(await inspectBlob(context, blobId)) };
}

/** What an earlier release began has no such step. */
const decryptedBy = (outputs: StepOutputs): Kept | undefined => (outputs['decrypt'] as Kept | null | undefined) ?? undefined;

type Inspecting = Pick<ImageContext, 'store' | 'disk' | 'image' | 'limits'>;

/** What an image is, under limits; throws with the reason why it is none. `onBytes`: how many of its bytes are read. */
export async function inspectBlob({ store, disk, image, limits }: Inspecting, blobId: string, onBytes?: (bytes: number) => void): Promise<Inspected> {
  const sizeBytes = await store.size(blobId);
  if (sizeBytes === 0) throw new Error(`${image.location} is empty`);
  checkBootFile({ image, limits }, sizeBytes);
  const facts = image.type === 'machine'
    ? await disk.inspect(store.path(blobId), { virtualSizeBytesMax: limits.virtualSizeBytesMax, timeoutMs: limits.inspectMs })
    : { format: 'raw' as const, sizeBytes, virtualSizeBytes: sizeBytes };
  return { ...facts, sha256: await sha256Of(await store.read(blobId), onBytes) };
}

function checkBootFile({ image, limits }: Pick<ImageContext, 'image' | 'limits'>, sizeBytes: number): void {
  if (image.type === 'machine' || sizeBytes <= limits.bootFileBytesMax) return;
  throw new Error(`${image.location} is larger than ${limits.bootFileBytesMax} bytes, too large for a ${image.type}`);
}

async function sha256Of(content: Readable, onBytes: (bytes: number) => void = () => undefined): Promise<string> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of content as AsyncIterable<Buffer>) {
    hash.update(chunk);
    onBytes((bytes += chunk.length));
  }
  return hash.digest('hex');
}

/** A repetition makes a second name for the same content; the sweeper removes the one that nothing refers to. */
async function keep({ store }: ImageContext, outputs: StepOutputs): Promise<Kept> {
  // What was decrypted is the image's own already.
  return decryptedBy(outputs) ?? { blobId: await store.link((outputs['inspect'] as { sourceBlobId: string }).sourceBlobId) };
}

async function discard(store: ObjectStoreDriver, output: unknown): Promise<void> {
  const kept = output as Kept | undefined | null;
  if (kept !== undefined && kept !== null) await store.remove(kept.blobId);
}

function publish(context: ImageContext, outputs: StepOutputs): Promise<void> {
  const { format, sizeBytes, virtualSizeBytes, sha256 } = outputs['inspect'] as Inspected;
  return publishBlob(context, { format, sizeBytes, virtualSizeBytes, sha256, blobId: (outputs['keep'] as Kept).blobId });
}

export async function publishBlob({ db, clock, image }: Pick<ImageContext, 'db' | 'clock' | 'image'>, facts: ImageFacts): Promise<void> {
  if (!(await publishImage(db, image.id, facts, clock.date()))) throw new Error('the image was deregistered meanwhile');
}

/** image.deregister: its blob is let go of; hosts and running guests keep their copies. */
export const deregisterImage: Flow<ImageContext> = {
  name: 'image.deregister',
  steps: [{ name: 'release', do: ({ db, clock, image }) => releaseBlob(db, image.id, clock.date()) }],
};

/** The reason is the tenant's to read. */
export async function afterFailedImage({ db, clock, image }: Pick<ImageContext, 'db' | 'clock' | 'image'>, error: string): Promise<void> {
  await failImage(db, image.id, error, clock.date());
}
