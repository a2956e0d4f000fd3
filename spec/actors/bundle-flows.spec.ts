// Images of bundles against the generic proof, with a key and a decryption by the real openssl; and bundles in which something is wrong.
import { createHash, createPublicKey, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { describeBundle } from '../../src/actors/objectstore/describe-bundle.ts';
import { afterFailedImage, type ImageContext } from '../../src/actors/objectstore/register-image.ts';
import { unbundleImage } from '../../src/actors/objectstore/unbundle-image.ts';
import { insertBucket } from '../../src/db/buckets.ts';
import { insertImage, loadImage, type Image } from '../../src/db/image-work.ts';
import { deleteObjects, putObject } from '../../src/db/objects.ts';
import { projects, users } from '../../src/db/schema/all.ts';
import { insertCertificate } from '../../src/db/certificates.ts';
import { certificates as issuedCertificates } from '../../src/db/schema/certificates.ts';
import { deleteSigningCertificate, insertSigningCertificate } from '../../src/db/signing-certificates.ts';
import { createOpensslCertificates } from '../../src/drivers/certificates/openssl.ts';
import type { DiskDriver } from '../../src/drivers/disk/driver.ts';
import { createMemoryDisk } from '../../src/drivers/disk/memory.ts';
import { MemoryStore } from '../../src/drivers/objectstore/memory.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { runFlow } from '../../src/lib/flow.ts';
import { newId, newProjectId } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { makeBundle, tarFile, tarOf, type Bundle, type BundleWish } from '../support/bundles.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { checkFlow, memoryJournal, type World } from '../support/flow-check.ts';

const certificates = createOpensslCertificates({ run: createRun({ log }) });
const file = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../fixtures/euca2ools-bundle', name));
/** What euca2ools encrypted to; keys take long to make. */
const cloudKey = file('cloud-key.pem').toString();
const publicKey = createPublicKey(cloudKey).export({ type: 'spki', format: 'pem' }).toString();
const [projectId, strangerId] = [newProjectId(), newProjectId()];
const content = randomBytes(100 * 512);
const sha256 = createHash('sha256').update(content).digest('hex');
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  const { db } = database;
  await db.insert(users).values({ id: 'u', name: 'joe', createdAt: clock.date() });
  for (const id of [projectId, strangerId]) await db.insert(projects).values({ id, name: id, description: '', managerId: 'u', createdAt: clock.date() });
  await insertBucket(db, { name: 'bundles', projectId, acl: 'private', createdAt: clock.date() });
  await insertBucket(db, { name: 'strangers', projectId: strangerId, acl: 'public-read-write', createdAt: clock.date() });
});
afterAll(() => database.close());

const disk: DiskDriver = {
  ...createMemoryDisk(() => undefined),
  inspect: async () => ({ format: 'raw', sizeBytes: content.length, virtualSizeBytes: content.length }),
};

class NamedMemoryStore extends MemoryStore {
  override path(blobId: string): string {
    return `/blobs/${blobId}`;
  }
}

/** openssl takes its time, and the same bundle is opened often. */
const opened = new Map<string, Promise<string>>();
function decrypt(encrypted: Buffer): Promise<string> {
  const known = opened.get(encrypted.toString('hex')) ?? certificates.decrypt(cloudKey, encrypted);
  opened.set(encrypted.toString('hex'), known);
  return known;
}

const bundleOf = (wish: Partial<BundleWish> = {}): Bundle =>
  makeBundle({ name: 'disk.img', image: content, certificate: publicKey, partBytes: 20_000, ...wish });

interface Upload {
  readonly type?: Image['type'];
  readonly bucket?: string;
  /** Who put the parts. */
  readonly partsBy?: string;
  readonly limits?: Partial<ImageContext['limits']>;
  /** At rest. */
  readonly isEncrypted?: boolean;
}

async function uploaded(bundle: Bundle, upload: Upload = {}): Promise<ImageContext> {
  const { type = 'machine', bucket = 'bundles', partsBy = projectId, limits = {}, isEncrypted = false } = upload;
  const { db } = database;
  const store = new NamedMemoryStore({ clock });
  const id = newId('ami');
  const put = async (name: string, by: string, body: Buffer) => {
    const blob = await store.write(Readable.from([body]), { isEncrypted });
    await putObject(db, {
      bucket, key: `${id}/${name}`, blobId: blob.blobId, sizeBytes: blob.sizeBytes, etag: blob.md5, headers: {}, metadata: {}, checksums: {},
      projectId: by, acl: 'private', modifiedAt: clock.date(),
    });
  };
  for (const [name, part] of bundle.parts) await put(name, partsBy, part);
  const key = `${id}/disk.img.manifest.xml`;
  await put('disk.img.manifest.xml', projectId, Buffer.from(bundle.manifest));
  await insertImage(db, {
    id, projectId, name: id, description: '', type, location: `${bucket}/${key}`, isPublic: false, kernelId: null, ramdiskId: null,
  }, clock.date());
  const image = await loadImage(db, id);
  if (image === undefined) throw new Error('no image');
  return {
    db, clock, store, disk, image, input: { bucket, key }, decrypt,
    limits: { virtualSizeBytesMax: 1e9, bootFileBytesMax: 1e6, inspectMs: 1_000, ...limits },
  };
}

async function blobsOf({ store }: ImageContext): Promise<string[]> {
  const blobs: string[] = [];
  for await (const blobId of store.list({ changedBefore: new Date(clock.now() + 1e6) })) blobs.push(blobId);
  return blobs;
}

/** The image as it is after it, with the number of blobs that came of it. */
async function outcome(context: ImageContext) {
  const before = (await blobsOf(context)).length;
  const result = await runFlow(unbundleImage, context, memoryJournal());
  if (!result.done) await afterFailedImage(context, result.error);
  const { state, stateReason, sha256: digest, blobId } = (await loadImage(context.db, context.image.id)) ?? {};
  return { state, stateReason, sha256: digest, blobId, more: (await blobsOf(context)).length - before };
}

const world = (context: ImageContext): World<ImageContext> => ({
  context,
  async snapshot() {
    const { state, stateReason, stateReasonCode, sha256: digest, sizeBytes, blobId } = (await loadImage(database.db, context.image.id)) ?? {};
    return { state, stateReason, stateReasonCode, digest, sizeBytes, hasBlob: (await blobsOf(context)).includes(blobId ?? '') };
  },
  close: async () => undefined,
});

describe('S10: image.unbundle', () => {
  const bundle: { value?: Bundle } = {};
  beforeEach(() => {
    bundle.value ??= bundleOf();
  });
  checkFlow(unbundleImage, async () => world(await uploaded(bundle.value ?? bundleOf())));
});

describe('S7: a bundle', () => {
  it.each(['machine', 'kernel', 'ramdisk'] as const)('becomes an available image of a %s, with the bytes that went in, and nothing else', async (type) => {
    for (const isEncrypted of [false, true]) {
      const context = await uploaded(bundleOf({ type }), { type, isEncrypted });
      const found = await outcome(context);
      expect(found).toMatchObject({ state: 'available', stateReason: null, sha256, more: 1 });
      expect((await buffer(await context.store.read(found.blobId ?? ''))).equals(content)).toBe(true);
    }
  });

  it('is read as euca2ools 3.4.1 made it, with its key, its digests and its signature', async () => {
    const parts = new Map(['small.img.part.00', 'small.img.part.01'].map((name) => [name, file(name)]));
    const context = await uploaded({ manifest: file('small.img.manifest.xml').toString(), parts });
    const id = 'the author of the fixture';
    await insertSigningCertificate(database.db, { id, projectId, userId: 'u', certificate: file('user-cert.pem').toString(), createdAt: clock.date() });
    try {
      expect(await outcome(context)).toMatchObject({
        state: 'available', sha256: '55ecb1cc08242c9b4700c4e21b2a5a37489e059a10be6841b648041d0cfd0ae0', more: 1,
      });
      const serial = new X509Certificate(file('user-cert.pem')).serialNumber;
      await insertCertificate(database.db, { serial, projectId, userId: 'u', createdAt: clock.date(), expiresAt: clock.date(), revokedAt: clock.date() });
      const again = await uploaded({ manifest: file('small.img.manifest.xml').toString(), parts });
      expect((await outcome(again)).stateReason).toContain('not signed by any certificate');
    } finally {
      await database.db.delete(issuedCertificates);
      await deleteSigningCertificate(database.db, projectId, id);
    }
  });

  it('says how far it has come', async () => {
    const context = await uploaded(bundleOf());
    const seen: unknown[] = [];
    const write = context.store.write.bind(context.store);
    context.store.write = async (...given) => {
      seen.push((await loadImage(context.db, context.image.id))?.stateReasonCode);
      return write(...given);
    };
    await runFlow(unbundleImage, context, memoryJournal());
    expect(seen).toEqual(['decrypting', 'untarring']);
  });

  it('is described to the API before there is an image', async () => {
    const context = await uploaded(bundleOf({ machine: '<kernel_id>aki-12345678</kernel_id>' }));
    const at = { bucket: 'bundles', key: String(context.input['key']) };
    expect(await describeBundle(context, at)).toEqual({
      refused: null, bundle: { type: 'machine', architecture: 'x86_64', kernelId: 'aki-12345678', ramdiskId: null },
    });
    expect(await describeBundle(context, { ...at, key: 'absent' })).toMatchObject({ bundle: null, refused: 'the manifest does not exist any more' });
  });

  it('may be made by whoever may write into the bucket of another project', async () => {
    expect(await outcome(await uploaded(bundleOf(), { bucket: 'strangers' }))).toMatchObject({ state: 'available' });
  });
});

describe('S8: a bundle in which something is wrong', () => {
  const other = Buffer.from(content);
  other[7] = (other[7] ?? 0) ^ 1;
  const replaced = (bundle: Bundle, name: string, change: (part: Buffer) => Buffer): Bundle =>
    ({ ...bundle, parts: new Map([...bundle.parts].map(([key, part]) => [key, key === name ? change(part) : part])) });
  const flipped = (part: Buffer): Buffer => Buffer.concat([part.subarray(0, 100), Buffer.from([(part[100] ?? 0) ^ 1]), part.subarray(101)]);
  const cases: [string, () => Bundle, string][] = [
    ['a part with other bytes', () => replaced(bundleOf(), 'disk.img.part.01', flipped), 'disk.img.part.01 has not the digest'],
    ['a part cut short', () => replaced(bundleOf(), 'disk.img.part.01', (part) => part.subarray(1)), 'the parts have'],
    ['another digest of the whole', () => bundleOf({ change: (text) => text.replace(/<digest algorithm="SHA1">[0-9a-f]/, (found) =>
      `${found.slice(0, -1)}${found.endsWith('0') ? '1' : '0'}`) }), 'as a whole has not the digest'],
    ['another size', () => bundleOf({ change: (text) => text.replace(/<size>\d+/, '<size>7') }), 'its manifest says 7'],
    ['an archive of a link', () => bundleOf({ archive: tarOf([tarFile({ name: 'disk.img', type: '2', linkTo: '/etc/passwd' })]) }), 'a symbolic link'],
    ['an archive that climbs', () => bundleOf({ archive: tarOf([tarFile({ name: '../../x', content })]) }), 'a file named'],
    ['a bomb', () => bundleOf({ archive: tarOf([tarFile({ name: 'disk.img', content: Buffer.alloc(5_000_000) })]) }), 'has 5000000 bytes'],
    ['no compression', () => bundleOf({ compress: (archive) => archive }), 'cannot be decrypted'],
    ['a compression that is broken', () => bundleOf({ compress: (archive) => flipped(gzipSync(archive)) }), ''],
    ['a compression cut short', () => bundleOf({ compress: (archive) => gzipSync(archive).subarray(0, -20) }), 'not compressed as bundles are'],
    ['a key to another cloud', () => bundleOf({ certificate: file('user-cert.pem').toString() }), 'its key was not encrypted to this cloud'],
  ];
  it.each(cases)('fails with its reason, and leaves nothing: %s', async (_, make, reason) => {
    const found = await outcome(await uploaded(make()));
    expect(found).toMatchObject({ state: 'failed', blobId: null, more: 0 });
    expect(found.stateReason).toContain(reason);
  });

  it('fails when a part is missing', async () => {
    const context = await uploaded(bundleOf());
    await deleteObjects(context.db, 'bundles', [`${context.image.id}/disk.img.part.00`], clock.date());
    expect(await outcome(context)).toMatchObject({ state: 'failed', stateReason: 'the part disk.img.part.00 is missing', more: 0 });
  });

  it('cannot lead to what another project keeps in the same bucket', async () => {
    expect(await outcome(await uploaded(bundleOf(), { bucket: 'strangers', partsBy: strangerId }))).toMatchObject({
      state: 'failed', stateReason: 'the part disk.img.part.00 is missing',
    });
  });

  it('fails when it would be larger than allowed, before a byte of it is unpacked', async () => {
    expect((await outcome(await uploaded(bundleOf(), { limits: { virtualSizeBytesMax: 1_000 } }))).stateReason).toContain('more than the 1000 allowed');
    const kernel = await uploaded(bundleOf({ type: 'kernel' }), { type: 'kernel', limits: { bootFileBytesMax: 1_000 } });
    expect((await outcome(kernel)).stateReason).toContain('more than the 1000 allowed');
  });

  it('fails when the project\'s members sign, and none of them signed it', async () => {
    await insertSigningCertificate(database.db, { id: 'joes', projectId, userId: 'u', certificate: publicKey, createdAt: clock.date() });
    const signed = bundleOf({ signingKey: cloudKey });
    const forged = { ...signed, manifest: signed.manifest.replace('<user>1', '<user>2') };
    try {
      expect((await outcome(await uploaded(forged))).stateReason).toContain('not signed by any certificate');
      expect((await outcome(await uploaded(bundleOf()))).stateReason).toBe('the manifest is not signed');
      expect((await outcome(await uploaded(signed))).state).toBe('available');
    } finally {
      await deleteSigningCertificate(database.db, projectId, 'joes');
    }
  });
});
