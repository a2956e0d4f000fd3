// The ready-made image: its three parts are put into a bucket of the first project and registered, as a user would do it, at the first
// start and again when the build has changed.
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { insertBucket } from '../db/buckets.ts';
import { readSetting, writeSetting } from '../db/hosts.ts';
import { insertImage, loadImage, replaceImage } from '../db/image-work.ts';
import { putObject } from '../db/objects.ts';
import { insertOperation } from '../db/operations.ts';
import type { ObjectStoreDriver } from '../drivers/objectstore/driver.ts';
import { SetupError } from '../lib/errors.ts';
import { newId, newRequestId } from '../lib/ids.ts';
import type { Foundation } from './foundation.ts';

const bucket = 'novact-images';
const imageName = 'novact-tiny';
const registerMs = 60_000;

const parts = [
  { type: 'kernel', prefix: 'aki', file: 'vmlinuz', name: `${imageName}-kernel` },
  { type: 'ramdisk', prefix: 'ari', file: 'initrd.gz', name: `${imageName}-ramdisk` },
  { type: 'machine', prefix: 'ami', file: 'root.ext4', name: imageName },
] as const;

type Part = (typeof parts)[number];

export interface TinyImageDeps {
  readonly store: ObjectStoreDriver;
  readonly projectId: string;
  readonly onProgress: (text: string) => void;
}

/** After: the image of this build is available. Without a build on this machine nothing is registered, and that is said. */
export async function ensureTinyImage(foundation: Foundation, deps: TinyImageDeps): Promise<void> {
  const { settings } = foundation;
  const digest = await buildDigest(settings.tinyImage);
  if (digest === undefined) return deps.onProgress(`${imageName}: no build in ${settings.tinyImage}; bin/bootstrap makes one`);
  await foundation.once('tinyImage', () => registerBuild(foundation, deps, digest));
}

async function registerBuild(foundation: Foundation, deps: TinyImageDeps, digest: string): Promise<void> {
  const { db } = foundation;
  const [knownDigest, knownId] = (await readSetting(db, 'tinyImage'))?.split(' ') ?? [];
  if (knownDigest === digest && knownId !== undefined && (await loadImage(db, knownId)) !== undefined) return;
  deps.onProgress(`registering ${imageName}`);
  await insertBucket(db, { name: bucket, projectId: deps.projectId, acl: 'private', createdAt: foundation.clock.date() });
  const ids: Partial<Record<Part['type'], string>> = {};
  for (const part of parts) ids[part.type] = await register(foundation, deps, part, ids);
  if (knownId !== undefined) await replaceImage(db, knownId, foundation.clock.date());
  await writeSetting(db, 'tinyImage', `${digest} ${ids.machine ?? ''}`);
}

/** Changes when any part does. Undefined: there is no complete build. */
async function buildDigest(folder: string): Promise<string | undefined> {
  const hash = createHash('sha256');
  for (const { file } of parts) {
    const path = join(folder, file);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return undefined;
    hash.update(file === 'root.ext4' ? await sha256Of(path) : await readFile(path));
  }
  return hash.digest('hex');
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function register(foundation: Foundation, deps: TinyImageDeps, part: Part, ids: Partial<Record<Part['type'], string>>): Promise<string> {
  const { db, clock, relay } = foundation;
  const { projectId, store } = deps;
  const key = `${imageName}/${part.file}`;
  const blob = await store.write(createReadStream(join(foundation.settings.tinyImage, part.file)));
  await putObject(db, {
    bucket, key, blobId: blob.blobId, sizeBytes: blob.sizeBytes, etag: blob.md5, headers: { 'content-type': 'application/octet-stream' },
    metadata: {}, checksums: {}, projectId, acl: 'private', modifiedAt: clock.date(),
  });
  const imageId = newId(part.prefix);
  await db.transaction(async (tx) => {
    await insertImage(tx, {
      id: imageId, projectId, name: part.name, description: 'busybox and dropbear on Debian\'s kernel; log in as root', type: part.type,
      location: `${bucket}/${key}`, isPublic: true, kernelId: part.type === 'machine' ? (ids.kernel ?? null) : null,
      ramdiskId: part.type === 'machine' ? (ids.ramdisk ?? null) : null,
    }, clock.date());
    await insertOperation(tx, {
      kind: 'image.register', resourceId: imageId, projectId, userId: 'novact', requestId: newRequestId(), input: { bucket, key }, owner: 'objectstore',
      deadline: new Date(clock.now() + registerMs),
    }, clock.date());
  });
  relay.kick();
  await untilAvailable(foundation, imageId);
  return imageId;
}

async function untilAvailable({ db, clock }: Foundation, imageId: string): Promise<void> {
  const end = clock.now() + registerMs;
  while (clock.now() < end) {
    const image = await loadImage(db, imageId);
    if (image?.state === 'available') return;
    if (image?.state === 'failed') {
      throw new SetupError(`${imageName} could not be registered: ${image.stateReason ?? 'unknown'}`, 'Remove build/tiny and run bin/bootstrap again.');
    }
    await clock.sleep(50);
  }
  throw new SetupError(`${imageName} was not registered within ${registerMs / 1_000} s`, 'See the log in the state folder.');
}
