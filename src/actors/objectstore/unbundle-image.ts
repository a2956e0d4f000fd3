// image.unbundle: from the objects of a bundle to an available image.
//   decrypt  the parts, verified, as one blob that is still compressed      − removed
//   untar    the image in it, verified, as a blob of its own                − removed
//   inspect  what the image is, under limits; its checksum
//   clear    what was decrypted is removed
//   publish  the row says available                                         − pending again
// The key of a bundle is kept nowhere: a process that goes on decrypts it again.
import { X509Certificate } from 'node:crypto';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { findBucket } from '../../db/buckets.ts';
import { markImage, withdrawImage } from '../../db/image-work.ts';
import { findObject, type StoredObject } from '../../db/objects.ts';
import { revokedSerials } from '../../db/certificates.ts';
import { signingCertificatesOf } from '../../db/signing-certificates.ts';
import { DriverError } from '../../lib/errors.ts';
import type { Flow, StepOutputs } from '../../lib/flow.ts';
import { decrypted, unpacked, wrongKey, type BundleCipher } from './bundles/content.ts';
import { BundleError, isSignedBy, manifestBytesMax, readManifest, type BundleManifest, type BundlePart } from './bundles/manifest.ts';
import { inspectBlob, publishBlob, type ImageContext, type Inspected } from './register-image.ts';

/** What later steps need of the manifest, so that they cannot meet another one. */
interface Decrypted {
  readonly blobId: string;
  readonly sizeBytes: number;
  readonly sha1: string;
}

interface Kept {
  readonly blobId: string;
}

export const unbundleImage: Flow<ImageContext> = {
  name: 'image.unbundle',
  steps: [
    {
      name: 'decrypt', do: decrypt,
      async undo(context, outputs) {
        await discard(context, outputs['decrypt']);
        await markImage(context.db, context.image.id, null);
      },
    },
    { name: 'untar', do: untar, undo: (context, outputs) => discard(context, outputs['untar']) },
    { name: 'inspect', do: (context, outputs) => inspectBlob(context, (outputs['untar'] as Kept).blobId) },
    { name: 'clear', do: (context, outputs) => discard(context, outputs['decrypt']) },
    { name: 'publish', do: publish, undo: ({ db, clock, image }) => withdrawImage(db, image.id, clock.date()) },
  ],
};

async function decrypt(context: ImageContext): Promise<Decrypted> {
  const { db, store, image, limits } = context;
  await markImage(db, image.id, 'decrypting');
  const { manifest, object } = await loadManifest(context, context.input);
  const sizeBytesMax = image.type === 'machine' ? limits.virtualSizeBytesMax : limits.bootFileBytesMax;
  if (manifest.sizeBytes > sizeBytesMax) throw new BundleError(`the image has ${manifest.sizeBytes} bytes, more than the ${sizeBytesMax} allowed`);
  await checkSignature(context, manifest);
  const parts = await findParts(context, manifest, object);
  const cipher = await cipherOf(context, manifest);
  const blob = await store.write(decrypted(manifest.parts, cipher, (part) => openPart(context, parts, part)));
  return { blobId: blob.blobId, sizeBytes: manifest.sizeBytes, sha1: manifest.sha1 };
}

/** The manifest in an object, and the object. */
export async function loadManifest(
  { db, store }: Pick<ImageContext, 'db' | 'store'>, at: Readonly<Record<string, unknown>>,
): Promise<{ manifest: BundleManifest; object: StoredObject }> {
  const object = await findObject(db, String(at['bucket']), String(at['key']));
  if (object === undefined) throw new BundleError('the manifest does not exist any more');
  if (object.sizeBytes > manifestBytesMax) throw new BundleError(`the manifest has more than ${manifestBytesMax} bytes`);
  return { manifest: await readManifest(await buffer(await store.read(object.blobId))), object };
}

/** A project of which the cloud knows what its members sign with gets what they signed, unless it was revoked. Of others nothing is known to compare with. */
async function checkSignature({ db, image }: ImageContext, manifest: BundleManifest): Promise<void> {
  const known = await signingCertificatesOf(db, image.projectId);
  const revoked = await revokedSerials(db, image.projectId);
  const isGood = (certificate: string): boolean => revoked.size === 0 || !revoked.has(new X509Certificate(certificate).serialNumber);
  const good = known.map(({ certificate }) => certificate).filter(isGood);
  if (known.length === 0 || isSignedBy(manifest, good)) return;
  throw new BundleError(manifest.signature === undefined ? 'the manifest is not signed' : 'the manifest is not signed by any certificate of the project');
}

type Parts = ReadonlyMap<string, StoredObject>;

/**
 * They lie beside the manifest. A manifest cannot lead to what others keep there: parts are by whoever wrote the manifest, or lie in a bucket
 * of the project that registers.
 */
async function findParts({ db, image }: ImageContext, manifest: BundleManifest, object: StoredObject): Promise<Parts> {
  const ownsBucket = (await findBucket(db, object.bucket))?.projectId === image.projectId;
  const found = new Map<string, StoredObject>();
  let bundledBytes = 0;
  for (const { filename } of manifest.parts) {
    const part = await findObject(db, object.bucket, object.key.slice(0, object.key.lastIndexOf('/') + 1) + filename);
    if (part === undefined || !(ownsBucket || part.projectId === object.projectId)) throw new BundleError(`the part ${filename} is missing`);
    found.set(filename, part);
    bundledBytes += part.sizeBytes;
  }
  if (bundledBytes === manifest.bundledSizeBytes) return found;
  throw new BundleError(`the parts have ${bundledBytes} bytes, and the manifest says ${manifest.bundledSizeBytes}`);
}

function openPart({ store }: ImageContext, parts: Parts, { filename }: BundlePart): Promise<Readable> {
  const part = parts.get(filename);
  if (part === undefined) throw new Error(`${filename} was not looked for`);
  return store.read(part.blobId);
}

/** What bundlers encrypt is not the key but its digits. */
async function cipherOf({ decrypt: open }: ImageContext, { encryptedKey, encryptedIv }: BundleManifest): Promise<BundleCipher> {
  const [key, iv] = [await digitsOf(open, encryptedKey), await digitsOf(open, encryptedIv)];
  if (key === undefined || iv === undefined) throw wrongKey();
  return { key, iv };
}

async function digitsOf(open: ImageContext['decrypt'], encrypted: Buffer): Promise<Buffer | undefined> {
  try {
    const text = (await open(encrypted)).trim();
    return /^[0-9a-f]{32}$/i.test(text) ? Buffer.from(text, 'hex') : undefined;
  } catch (error) {
    if (error instanceof DriverError && error.kind === 'failed') return undefined;
    throw error;
  }
}

async function untar({ db, store, image }: ImageContext, outputs: StepOutputs): Promise<Kept> {
  await markImage(db, image.id, 'untarring');
  const bundle = outputs['decrypt'] as Decrypted;
  const { blobId } = await store.write(unpacked(await store.read(bundle.blobId), bundle), { sizeBytesMax: bundle.sizeBytes });
  return { blobId };
}

async function discard({ store }: ImageContext, output: unknown): Promise<void> {
  const kept = output as Kept | undefined | null;
  if (kept !== undefined && kept !== null) await store.remove(kept.blobId);
}

function publish(context: ImageContext, outputs: StepOutputs): Promise<void> {
  return publishBlob(context, { ...(outputs['inspect'] as Inspected), blobId: (outputs['untar'] as Kept).blobId });
}
