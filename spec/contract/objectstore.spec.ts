// What every object store promises, over each one in the registry.
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { copyBlob, isEncrypted, type ObjectStoreDriver } from '../../src/drivers/objectstore/driver.ts';
import { objectStoreDrivers } from '../../src/drivers/objectstore/index.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { newSealer } from '../support/new-sealer.ts';

const tomorrow = () => new Date(systemClock.now() + 86_400_000);
const of = (...chunks: string[]) => Readable.from(chunks.map((chunk) => Buffer.from(chunk)), { objectMode: false });

async function all(ids: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = [];
  for await (const id of ids) found.push(id);
  return found;
}

describe.each(Object.entries(objectStoreDrivers))('object store %s', (name, create) => {
  let folder: string;
  let store: ObjectStoreDriver;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 's3-store-'));
    store = await create({ folder, clock: systemClock, sealer: newSealer() });
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('names itself', () => expect(store.info.name).toBe(name));

  it('gives back what was written, with its size and md5', async () => {
    const written = await store.write(of('hello ', 'world'));
    expect(written).toMatchObject({ sizeBytes: 11, md5: createHash('md5').update('hello world').digest('hex') });
    expect(await text(await store.read(written.blobId))).toBe('hello world');
    expect(await store.size(written.blobId)).toBe(11);
  });

  it('keeps several batches in order', async () => {
    const chunks = Array.from({ length: 50 }, (_, index) => String.fromCharCode(97 + (index % 26)).repeat(70_001));
    const written = await store.write(of(...chunks));
    expect(await text(await store.read(written.blobId))).toBe(chunks.join(''));
  });

  it('reads an inclusive range', async () => {
    const { blobId } = await store.write(of('0123456789'));
    expect(await text(await store.read(blobId, { first: 2, last: 4 }))).toBe('234');
    expect(await text(await store.read(blobId, { first: 9, last: 9 }))).toBe('9');
  });

  it('gives a range at once and in pieces, and says so when the blob ends before', async () => {
    const content = Array.from({ length: 100_000 }, (_, number) => `${number} `).join('');
    const { blobId } = await store.write(of(content));
    const inPieces = async (range: { first: number; last: number }) => {
      let whole = '';
      // As it is used: the piece is not looked at after the promise.
      await (await store.pieces(blobId, range)).copyTo(async (piece) => void (whole += piece.toString('latin1')));
      return whole;
    };
    for (const range of [{ first: 0, last: 0 }, { first: 5, last: 70_000 }, { first: 0, last: content.length - 1 }]) {
      const wanted = content.slice(range.first, range.last + 1);
      expect([(await store.bytes(blobId, range)).toString(), await inPieces(range)]).toEqual([wanted, wanted]);
    }
    const beyond = { first: 0, last: content.length };
    await expect(store.bytes(blobId, beyond)).rejects.toMatchObject({ kind: 'failed' });
    await expect(inPieces(beyond)).rejects.toThrow('ends before');
    await expect(store.pieces('0'.repeat(32), { first: 0, last: 0 })).rejects.toMatchObject({ kind: 'notFound' });
    await expect((await store.pieces(blobId, { first: 0, last: 9 })).copyTo(() => Promise.reject(new Error('away')))).rejects.toThrow('away');
  });

  it('gives each range of a blob that is asked for again and again, and nothing of one that was removed', async () => {
    const [one, other] = await Promise.all([store.write(of('0123456789')), store.write(of('abcdefghij'))]);
    for (const range of [{ first: 0, last: 9 }, { first: 0, last: 9 }, { first: 2, last: 4 }, { first: 0, last: 9 }, { first: 2, last: 9 }]) {
      const bytes = await Promise.all([one, other].map(({ blobId }) => store.bytes(blobId, range)));
      expect(bytes.map(String)).toEqual(['0123456789', 'abcdefghij'].map((content) => content.slice(range.first, range.last + 1)));
    }
    await expect(store.bytes(one.blobId, { first: 0, last: 10 })).rejects.toMatchObject({ kind: 'failed' });
    await store.remove(one.blobId);
    await expect(store.bytes(one.blobId, { first: 2, last: 9 })).rejects.toMatchObject({ kind: 'notFound' });
    expect(String(await store.bytes(other.blobId, { first: 2, last: 9 }))).toBe('cdefghij');
  });

  it('still gives in pieces what was removed after it was opened, and to many at once what each asked for', async () => {
    const blobs = await Promise.all(['a', 'b', 'c'].map(async (letter) => ({ letter, ...(await store.write(of(letter.repeat(600_000)))) })));
    await Promise.all(blobs.flatMap((blob) => [blob, blob, blob]).map(async ({ letter, blobId, sizeBytes }) => {
      const pieces = await store.pieces(blobId, { first: 0, last: sizeBytes - 1 });
      await store.remove(blobId).catch(() => undefined);
      let [count, wrong] = [0, 0];
      await pieces.copyTo(async (piece) => {
        await new Promise((resolve) => void setImmediate(resolve));
        count += piece.length;
        if (!piece.equals(Buffer.alloc(piece.length, letter))) wrong += 1;
      });
      expect([count, wrong]).toEqual([600_000, 0]);
    }).map((work) => work.catch((error: unknown) => expect(error).toMatchObject({ kind: 'notFound' }))));
  });

  it('keeps an empty blob', async () => {
    const { blobId, sizeBytes } = await store.write(of());
    expect(sizeBytes).toBe(0);
    expect(await text(await store.read(blobId))).toBe('');
  });

  it('leaves nothing of a stream that fails', async () => {
    const torn = new Readable({
      read() {
        this.push(Buffer.alloc(1000));
        this.destroy(new Error('the cable was cut'));
      },
    });
    await expect(store.write(torn)).rejects.toThrow('the cable was cut');
    expect(await all(store.list({ changedBefore: tomorrow() }))).toEqual([]);
    if (name === 'filesystem') expect(await readdir(join(folder, 'tmp'))).toEqual([]);
  });

  it('leaves nothing of a stream that fails after it was written in part', async () => {
    async function* torn() {
      for (let piece = 0; piece < 5; piece += 1) yield Buffer.alloc(700_000);
      throw new Error('the cable was cut');
    }
    await expect(store.write(torn())).rejects.toThrow('the cable was cut');
    expect(await all(store.list({ changedBefore: tomorrow() }))).toEqual([]);
  });

  it('keeps what is written at once, each whole, up to a batch and beyond', async () => {
    const sizes = [0, 1, 4_096, 1024 ** 2 - 1, 1024 ** 2, 1024 ** 2 + 1, 3 * 1024 ** 2];
    const contents = sizes.map((size, index) => Buffer.alloc(size, `content ${index} `));
    const pieces = (content: Buffer) => Readable.from(Array.from({ length: Math.ceil(content.length / 65_536) }, (_, at) =>
      content.subarray(at * 65_536, (at + 1) * 65_536)), { objectMode: false });
    const blobs = await Promise.all(contents.map((content) => store.write(pieces(content))));
    expect(new Set(blobs.map(({ blobId }) => blobId)).size).toBe(sizes.length);
    for (const [index, content] of contents.entries()) {
      const { blobId, sizeBytes, md5 } = blobs[index] ?? { blobId: '' };
      expect([sizeBytes, md5]).toEqual([content.length, createHash('md5').update(content).digest('hex')]);
      expect((await text(await store.read(blobId))) === content.toString()).toBe(true);
    }
  });

  it('refuses content above the given size and leaves nothing', async () => {
    await expect(store.write(of('12345', '67890'), { sizeBytesMax: 9 })).rejects.toMatchObject({ name: 'DriverError', kind: 'failed' });
    expect(await all(store.list({ changedBefore: tomorrow() }))).toEqual([]);
  });

  it('joins blobs in order and leaves the parts', async () => {
    const parts = [await store.write(of('one')), await store.write(of('two')), await store.write(of('three'))];
    const whole = await store.concat(parts.map((part) => part.blobId));
    expect(whole).toMatchObject({ sizeBytes: 11, md5: createHash('md5').update('onetwothree').digest('hex') });
    expect(await text(await store.read(whole.blobId))).toBe('onetwothree');
    expect(await text(await store.read(parts[1]?.blobId ?? ''))).toBe('two');
  });

  it('links a blob that outlives the original', async () => {
    const { blobId } = await store.write(of('kept'));
    const copyId = await store.link(blobId);
    await store.remove(blobId);
    expect(await text(await store.read(copyId))).toBe('kept');
  });

  it('removes twice without an error, and then finds nothing', async () => {
    const { blobId } = await store.write(of('gone'));
    await store.remove(blobId);
    await store.remove(blobId);
    await expect(store.read(blobId)).rejects.toMatchObject({ kind: 'notFound' });
    await expect(store.size(blobId)).rejects.toMatchObject({ kind: 'notFound' });
    await expect(store.link(blobId)).rejects.toMatchObject({ kind: 'notFound' });
    await expect(store.concat([blobId])).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('reads to its end a blob that is removed meanwhile', async () => {
    const { blobId } = await store.write(of('still here'));
    const stream = await store.read(blobId);
    await store.remove(blobId);
    expect(await text(stream)).toBe('still here');
  });

  it('lists only what changed before the given time', async () => {
    const { blobId } = await store.write(of('x'));
    expect(await all(store.list({ changedBefore: tomorrow() }))).toEqual([blobId]);
    expect(await all(store.list({ changedBefore: new Date(systemClock.now() - 60_000) }))).toEqual([]);
  });

  it('gives back what it encrypts: whole, in ranges, at once and in pieces, joined with what it does not encrypt, and by a second name', async () => {
    const content = Array.from({ length: 400_000 }, (_, number) => `${number} `).join('');
    const written = await store.write(of(content.slice(0, 7), content.slice(7, 70_000), content.slice(70_000)), { isEncrypted: true });
    const { blobId } = written;
    expect(written).toMatchObject({ sizeBytes: content.length, md5: createHash('md5').update(content).digest('hex') });
    expect([isEncrypted(blobId), await store.size(blobId)]).toEqual([true, content.length]);
    expect((await text(await store.read(blobId))) === content).toBe(true);
    for (const range of [{ first: 0, last: 0 }, { first: 15, last: 16 }, { first: 17, last: 300_001 }, { first: 1_048_576, last: content.length - 1 }]) {
      const wanted = content.slice(range.first, range.last + 1);
      let inPieces = '';
      await (await store.pieces(blobId, range)).copyTo(async (piece) => void (inPieces += piece.toString('latin1')));
      const found = [await text(await store.read(blobId, range)), (await store.bytes(blobId, range)).toString(), inPieces];
      expect(found.map((one) => one === wanted)).toEqual([true, true, true]);
    }
    const plain = await store.write(of('plain'));
    for (const wanted of [true, false]) {
      const joined = await store.concat([plain.blobId, blobId, plain.blobId], { isEncrypted: wanted });
      expect(joined).toMatchObject({ sizeBytes: content.length + 10, md5: createHash('md5').update(`plain${content}plain`).digest('hex') });
      expect([isEncrypted(joined.blobId), (await text(await store.read(joined.blobId))) === `plain${content}plain`]).toEqual([wanted, true]);
    }
    const linked = await store.link(blobId);
    await store.remove(blobId);
    expect([isEncrypted(linked), (await text(await store.read(linked))) === content]).toEqual([true, true]);
    await expect(store.read(blobId)).rejects.toMatchObject({ kind: 'notFound' });
    await expect(store.bytes(linked, { first: 0, last: content.length })).rejects.toMatchObject({ kind: 'failed' });
  });

  it('gives no tool a file that is encrypted, and copies content between what is and what is not', async () => {
    const secret = await store.write(of('no tool reads it'), { isEncrypted: true });
    expect(() => store.path(secret.blobId)).toThrow(expect.objectContaining({ kind: 'unsupported' }));
    for (const [from, to] of [[true, true], [true, false], [false, true], [false, false]] as const) {
      const { blobId } = await store.write(of('from one to the other'), { isEncrypted: from });
      const copyId = await copyBlob(store, blobId, { isEncrypted: to });
      await store.remove(blobId);
      expect([isEncrypted(copyId), await text(await store.read(copyId))]).toEqual([to, 'from one to the other']);
    }
  });

  it('keeps an empty encrypted blob, lists encrypted ones, and leaves nothing of one that fails', async () => {
    const { blobId, sizeBytes } = await store.write(of(), { isEncrypted: true });
    expect([sizeBytes, await store.size(blobId), await text(await store.read(blobId))]).toEqual([0, 0, '']);
    await expect(store.write(of('12345'), { sizeBytesMax: 4, isEncrypted: true })).rejects.toMatchObject({ kind: 'failed' });
    expect(await all(store.list({ changedBefore: tomorrow() }))).toEqual([blobId]);
  });

  it('never takes an id for a path', async () => {
    await expect(store.read('../../etc/passwd')).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('builds a blob of what a tool leaves in a file, and leaves nothing of one that fails', async () => {
    const built = await store.build('ami-1', (path) => writeFile(path, 'made by a tool'));
    expect(built.sizeBytes).toBe(14);
    expect(await text(await store.read(built.blobId))).toBe('made by a tool');
    await expect(store.build('ami-2', async (path) => {
      await writeFile(path, 'half');
      throw new Error('the tool failed');
    })).rejects.toThrow('the tool failed');
    expect(await all(store.list({ changedBefore: tomorrow() }))).toEqual([built.blobId]);
  });

  if (name === 'filesystem') {
    it('has neither the content nor its key in the file of an encrypted blob, a key for each, and needs the master key', async () => {
      const content = 'what nobody finds on the disk '.repeat(50);
      const files = await Promise.all([1, 2].map(async () => {
        const { blobId } = await store.write(of(content), { isEncrypted: true });
        return { blobId, bytes: await readFile(join(folder, 'blobs', blobId.slice(0, 2), blobId)) };
      }));
      const [one, two] = files.map(({ bytes }) => bytes.subarray(128));
      expect([one?.length, two?.length]).toEqual([content.length, content.length]);
      expect(one?.equals(two ?? Buffer.alloc(0))).toBe(false);
      for (const { bytes } of files) for (const word of ['nobody', 'disk', 'what']) expect(bytes.includes(word)).toBe(false);
      const stranger = await create({ folder, clock: systemClock, sealer: newSealer() });
      const { blobId = '' } = files[0] ?? {};
      const range = { first: 0, last: 1 };
      for (const attempt of [() => stranger.read(blobId), () => stranger.bytes(blobId, range), () => stranger.pieces(blobId, range)]) {
        await expect(attempt()).rejects.toThrow('cannot be opened');
      }
      expect(await text(await store.read(blobId))).toBe(content);
    });

    it('says of a file that lost its beginning that it is damaged', async () => {
      const { blobId } = await store.write(of('whole'), { isEncrypted: true });
      await writeFile(join(folder, 'blobs', blobId.slice(0, 2), blobId), Buffer.alloc(500, 'x'));
      await expect(store.read(blobId)).rejects.toMatchObject({ kind: 'failed' });
    });

    it('closes the file of an encrypted blob of which only the beginning is read', async () => {
      const { blobId } = await store.write(of('x'.repeat(3_000_000)), { isEncrypted: true });
      const open = async () => (await readdir('/proc/self/fd')).length;
      const before = await open();
      for (let round = 0; round < 20; round += 1) {
        for await (const chunk of await store.read(blobId)) {
          expect((chunk as Buffer).length).toBeGreaterThan(0);
          break;
        }
      }
      await expect.poll(open).toBeLessThan(before + 10);
    });

    it('builds beside a try that was given up on and still writes, and that one comes to nothing', async () => {
      let oldPath = '';
      let goOn = (): void => undefined;
      const old = store.build('ami-1', async (path) => {
        oldPath = path;
        await writeFile(path, 'old');
        await new Promise<void>((resolve) => { goOn = resolve; });
      });
      const failure = expect(old).rejects.toMatchObject({ kind: 'notFound' });
      await expect.poll(() => oldPath).not.toBe('');
      const { blobId } = await store.build('ami-1', (path) => writeFile(path, 'new'));
      goOn();
      await failure;
      expect(await text(await store.read(blobId))).toBe('new');
      expect(await all(store.list({ changedBefore: tomorrow() }))).toEqual([blobId]);
    });

    it('abandons what killed tries have left, under that name alone, and takes no name for a path', async () => {
      for (const file of ['ami-1.aa', 'ami-1.bb', 'ami-12.cc']) await writeFile(join(folder, 'tmp', file), 'x');
      await store.abandon('ami-1');
      expect(await readdir(join(folder, 'tmp'))).toEqual(['ami-12.cc']);
      await expect(store.abandon('../x')).rejects.toMatchObject({ kind: 'notFound' });
    });

    it('sweeps old temporary files and no others', async () => {
      await writeFile(join(folder, 'tmp', 'old'), 'x');
      await utimes(join(folder, 'tmp', 'old'), 1, 1);
      await writeFile(join(folder, 'tmp', 'new'), 'x');
      expect(await store.sweep({ changedBefore: new Date(systemClock.now() - 60_000) })).toBe(1);
      expect(await readdir(join(folder, 'tmp'))).toEqual(['new']);
    });

    it('counts a link to an old blob as new', async () => {
      const { blobId } = await store.write(of('x'));
      await utimes(store.path(blobId), 1, 1);
      await store.link(blobId);
      expect(await all(store.list({ changedBefore: new Date(systemClock.now() - 60_000) }))).toEqual([]);
    });
  }
});
