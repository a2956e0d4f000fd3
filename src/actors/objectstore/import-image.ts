// image.import: from a disk that somebody else made to an available image.
//   fetch     its bytes as a blob of the import's own, which nobody changes meanwhile   − removed
//   validate  what it is, by its header, under limits
//   convert   a qcow2 of what is neither that nor raw, by qemu-img under limits         − removed, with what a try has left
//   check     what the image is, as of any that is registered; its checksum
//   clear     what was fetched is removed, when it was converted
//   publish   the image is available and its task completed, in one transaction         − pending and active again
import { createReadStream } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { failImport, publishImport, reopenImport, type ImportSource } from '../../db/imports.ts';
import { withdrawImage } from '../../db/image-work.ts';
import { findObject } from '../../db/objects.ts';
import type { Operation } from '../../db/operations.ts';
import type { ImportedFile, ImportFormat } from '../../drivers/disk/driver.ts';
import { isEncrypted } from '../../drivers/objectstore/driver.ts';
import { createGate } from '../../lib/gate.ts';
import type { Flow, StepOutputs } from '../../lib/flow.ts';
import { ImportCancelled, inStage, type StageWatch } from './import-progress.ts';
import { inspectBlob, type ImageContext, type Inspected } from './register-image.ts';

interface Kept {
  readonly blobId: string;
  readonly sizeBytes: number;
}

/** In one process: each takes a core. */
const conversions = createGate(2);

export const importImage: Flow<ImageContext> = {
  name: 'image.import',
  steps: [
    { name: 'fetch', do: fetchContent, undo: (context, outputs) => discard(context, outputs['fetch']) },
    { name: 'validate', do: validate },
    { name: 'convert', do: convert, undo: undoConversion },
    { name: 'check', do: check },
    { name: 'clear', do: clear },
    { name: 'publish', do: publish, undo: unpublish },
  ],
};

async function fetchContent(context: ImageContext): Promise<Kept> {
  const source = context.input['source'] as ImportSource;
  return source.kind === 'object' ? fetchObject(context, source) : fetchFile(context, source.path);
}

/** A repetition makes a second name for the same content; the sweeper removes the one that nothing refers to. */
async function fetchObject(context: ImageContext, { bucket, key }: { bucket: string; key: string }): Promise<Kept> {
  const object = await findObject(context.db, bucket, key);
  if (object === undefined) throw new Error(`the object ${bucket}/${key} does not exist any more`);
  const { blobId, sizeBytes } = object;
  checkLength(context, sizeBytes);
  return inStage(context, { name: 'fetching', bytesTotal: sizeBytes }, async ({ signal, onBytes }) => {
    if (isEncrypted(blobId)) return context.store.write(watched(await context.store.read(blobId), { signal, onBytes }));
    const kept = { blobId: await context.store.link(blobId), sizeBytes };
    onBytes(sizeBytes);
    return kept;
  });
}

/** Tools need a file of what is encrypted at rest, and images are not. */
async function* watched(content: AsyncIterable<Buffer>, { signal, onBytes }: StageWatch): AsyncGenerator<Buffer, void, undefined> {
  let bytes = 0;
  for await (const chunk of content) {
    signal.throwIfAborted();
    onBytes((bytes += chunk.length));
    yield chunk;
  }
}

/** On the host of this process, as it may read it: only operators name files. */
async function fetchFile(context: ImageContext, path: string): Promise<Kept> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`the file ${path} cannot be read on the host of the objectstore (${error.code ?? 'unknown'})`, { cause: error });
  });
  if (!found.isFile()) throw new Error(`${path} is not a regular file`);
  checkLength(context, found.size);
  return inStage(context, { name: 'fetching', bytesTotal: found.size }, async ({ signal, onBytes }) => {
    let bytes = 0;
    const counted = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        onBytes((bytes += chunk.length));
        done(null, chunk);
      },
    });
    const file = createReadStream(path, { signal });
    file.on('error', (error) => counted.destroy(error)).pipe(counted);
    const { blobId, sizeBytes } = await context.store.write(counted, { sizeBytesMax: lengthMax(context) });
    if (sizeBytes === found.size) return { blobId, sizeBytes };
    await context.store.remove(blobId);
    throw new Error(`the file ${path} was changed while it was read`);
  });
}

/** What is converted may have tables beside its data. */
const lengthMax = ({ image, limits }: ImageContext): number =>
  (image.type === 'machine' ? limits.virtualSizeBytesMax + 2 ** 26 + Math.ceil(limits.virtualSizeBytesMax / 1_024) : limits.bootFileBytesMax);

function checkLength(context: ImageContext, sizeBytes: number): void {
  const max = lengthMax(context);
  if (sizeBytes > max) throw new Error(`the file has ${sizeBytes} bytes, more than the ${max} allowed`);
}

async function discard({ store }: ImageContext, output: unknown): Promise<void> {
  const kept = output as Kept | undefined | null;
  if (kept !== undefined && kept !== null) await store.remove(kept.blobId);
}

/** Kernels and ramdisks are taken as they are. */
function validate(context: ImageContext, outputs: StepOutputs): Promise<ImportedFile> {
  const { blobId, sizeBytes } = outputs['fetch'] as Kept;
  return inStage(context, { name: 'validating', bytesTotal: sizeBytes }, async (): Promise<ImportedFile> => {
    if (context.image.type !== 'machine') return { format: 'raw', sizeBytes, virtualSizeBytes: sizeBytes };
    const format = (context.input['format'] ?? undefined) as ImportFormat | undefined;
    return context.disk.identify(context.store.path(blobId), { format, virtualSizeBytesMax: context.limits.virtualSizeBytesMax });
  });
}

function convert(context: ImageContext, outputs: StepOutputs): Promise<Kept> {
  const { store, disk, image, limits } = context;
  const fetched = outputs['fetch'] as Kept;
  const { format, virtualSizeBytes } = outputs['validate'] as ImportedFile;
  const stage = { name: 'converting' as const, bytesTotal: virtualSizeBytes, format, virtualSizeBytes };
  return inStage(context, stage, async ({ signal, onBytes }) => {
    if (format === 'raw' || format === 'qcow2') return { blobId: fetched.blobId, sizeBytes: fetched.sizeBytes };
    const conversion = { path: store.path(fetched.blobId), format, virtualSizeBytesMax: limits.virtualSizeBytesMax };
    const onProgress = (fraction: number): void => onBytes(fraction * virtualSizeBytes);
    return conversions.pass(() => store.build(image.id, (to) => disk.convert({ ...conversion, to }, { signal, onProgress })), signal);
  });
}

async function undoConversion(context: ImageContext, outputs: StepOutputs): Promise<void> {
  await context.store.abandon(context.image.id);
  await discard(context, outputs['convert']);
}

function check(context: ImageContext, outputs: StepOutputs): Promise<Inspected> {
  const { blobId, sizeBytes } = outputs['convert'] as Kept;
  return inStage(context, { name: 'checking', bytesTotal: sizeBytes }, ({ onBytes }) => inspectBlob(context, blobId, onBytes));
}

async function clear(context: ImageContext, outputs: StepOutputs): Promise<void> {
  const fetched = outputs['fetch'] as Kept;
  if (fetched.blobId !== (outputs['convert'] as Kept).blobId) await discard(context, fetched);
}

async function publish(context: ImageContext, outputs: StepOutputs): Promise<void> {
  const { db, clock, image, input } = context;
  const facts = { ...(outputs['check'] as Inspected), blobId: (outputs['convert'] as Kept).blobId };
  if (!(await publishImport(db, { taskId: String(input['taskId']), imageId: image.id, facts }, clock.date()))) throw new ImportCancelled();
}

async function unpublish({ db, clock, image, input }: ImageContext): Promise<void> {
  await withdrawImage(db, image.id, clock.date());
  await reopenImport(db, String(input['taskId']), clock.date());
}

/** The reason is the tenant's to read. */
export async function afterFailedImport({ db, clock, image, input }: ImageContext, _operation: Operation, error: string): Promise<void> {
  await failImport(db, { taskId: String(input['taskId']), imageId: image.id, reason: error }, clock.date());
}
