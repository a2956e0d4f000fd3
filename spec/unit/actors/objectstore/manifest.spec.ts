// Manifests as bundlers write them, and as nobody should.
import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { BundleError, isSignedBy, manifestBytesMax, readManifest } from '../../../../src/actors/objectstore/bundles/manifest.ts';
import { makeBundle } from '../../../support/bundles.ts';

interface Keys {
  readonly publicKey: string;
  readonly privateKey: string;
}

function newKeys(): Keys {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  const format = 'pem' as const;
  return { publicKey: publicKey.export({ type: 'spki', format }).toString(), privateKey: privateKey.export({ type: 'pkcs8', format }).toString() };
}

const [cloud, user, other] = [newKeys(), newKeys(), newKeys()];
const image = Buffer.alloc(40_000, 'image');
const bundle = (options: Partial<Parameters<typeof makeBundle>[0]> = {}) =>
  makeBundle({ name: 'disk.img', image, certificate: cloud.publicKey, signingKey: user.privateKey, partBytes: 64, ...options });
const read = (text: string) => readManifest(Buffer.from(text));

describe('a manifest', () => {
  it('S7: says what the image is, and of which parts', async () => {
    const { manifest, parts } = bundle({ machine: '<kernel_id>aki-12345678</kernel_id><ramdisk_id>ari-12345678</ramdisk_id>' });
    const found = await read(manifest);
    expect(found).toMatchObject({ type: 'machine', architecture: 'x86_64', kernelId: 'aki-12345678', ramdiskId: 'ari-12345678', sizeBytes: image.length });
    expect(found.parts.map(({ filename }) => filename)).toEqual([...parts.keys()]);
    expect(found.bundledSizeBytes).toBe([...parts.values()].reduce((sum, part) => sum + part.length, 0));
    expect(found.encryptedKey).toHaveLength(256);
  });

  it.each([
    ['kernel', { machine: '<kernel_id>true</kernel_id>' }], ['kernel', { type: 'kernel' }],
    ['ramdisk', { machine: '<ramdisk_id>true</ramdisk_id>' }], ['ramdisk', { type: 'ramdisk' }],
  ])('S7: says that the image is a %s', async (type, options) => {
    expect(await read(bundle(options).manifest)).toMatchObject({ type, kernelId: undefined, ramdiskId: undefined });
  });

  it('is in the order of its numbers, whatever stands first', async () => {
    const { manifest, parts } = bundle();
    const all = manifest.match(/<part .*?<\/part>/g) ?? [];
    expect((await read(manifest.replace(all.join(''), all.toReversed().join('')))).parts.map(({ filename }) => filename)).toEqual([...parts.keys()]);
  });

  it('is signed by the key of its author alone', async () => {
    const found = await read(bundle().manifest);
    expect(isSignedBy(found, [other.publicKey, user.publicKey])).toBe(true);
    expect(isSignedBy(found, [other.publicKey])).toBe(false);
    expect(isSignedBy(await read(makeBundle({ name: 'x', image, certificate: cloud.publicKey }).manifest), [user.publicKey])).toBe(false);
  });

  it('S8: that was changed is not signed any more', async () => {
    const { manifest } = bundle();
    for (const changed of [manifest.replace(/<size>\d+/, '<size>41000'), manifest.replace('x86_64', 'i386'), manifest.replace('disk.img.part.01', 'other')]) {
      expect(changed).not.toBe(manifest);
      expect(isSignedBy(await read(changed), [user.publicKey])).toBe(false);
    }
  });
});

describe('S8: a manifest that is refused', () => {
  const edit = (from: string | RegExp, to: string) => (text: string) => {
    const changed = text.replace(from, to);
    expect(changed).not.toBe(text);
    return changed;
  };
  const cases: [string, (manifest: string) => string, string][] = [
    ['no XML', () => 'a disk image', 'not the XML of a bundle'],
    ['another document', () => '<Error><Code>NoSuchKey</Code></Error>', 'not the XML of a bundle'],
    ['an entity', edit('<manifest>', '<!DOCTYPE m [<!ENTITY a "b">]><manifest>'), 'comments, entities'],
    ['an unknown entity', edit('x86_64', '&x;'), 'comments, entities'],
    ['a comment', edit('<machine', '<!-- <image></image> --><machine'), 'comments, entities'],
    ['text with markup in an attribute', edit('<manifest>', '<manifest a="<image></image>">'), 'not the XML of a bundle'],
    ['a second image', edit('<signature>', '<image></image><signature>'), 'not exactly one image'],
    ['an image elsewhere', edit('<bundler>', '<bundler><image></image>'), 'not exactly one image'],
    ['too deep a tree', edit('<bundler>', `<bundler>${'<a>'.repeat(9)}${'</a>'.repeat(9)}`), 'deep'],
    ['a part that climbs', edit('disk.img.part.00', '../../other/key'), 'not the name of a part'],
    ['a part of the name ..', edit('>disk.img.part.00<', '>..<'), 'not the name of a part'],
    ['a part less', edit(/<part index="0">.*?<\/part>/, ''), 'as many parts as it says'],
    ['a number twice', edit('index="1"', 'index="0"'), 'not numbered from 0'],
    ['no parts', edit(/<parts.*<\/parts>/, '<parts count="0"></parts>'), 'names no parts'],
    ['a digest of another kind', edit(/algorithm="SHA1"/, 'algorithm="MD5"'), 'by MD5'],
    ['a digest that is none', edit(/<digest algorithm="SHA1">[0-9a-f]{40}/, '<digest algorithm="SHA1">zz'), 'not one of SHA1'],
    ['a cipher of another kind', edit('<ec2_encrypted_key algorithm="AES-128-CBC">', '<ec2_encrypted_key algorithm="DES">'), 'by DES'],
    ['a key that is none', edit(/(<ec2_encrypted_key[^>]*>)[0-9a-f]+/, '$1xyz'), 'not hexadecimal'],
    ['a size that is none', edit(/<size>\d+/, '<size>-1'), 'not a number of bytes'],
    ['no size', edit(/<size>\d+<\/size>/, ''), 'has no size'],
    ['two kinds at once', edit('</architecture>', '</architecture><kernel_id>true</kernel_id><ramdisk_id>true</ramdisk_id>'), 'a kernel and a ramdisk'],
  ];
  it.each(cases)('has %s', async (_, change, reason) => {
    await expect(read(change(bundle().manifest))).rejects.toThrow(new RegExp(`(?=.*${reason})`));
    await expect(read(change(bundle().manifest))).rejects.toBeInstanceOf(BundleError);
  });

  it('is larger than any bundler makes one', async () => {
    await expect(readManifest(Buffer.alloc(manifestBytesMax + 1, ' '))).rejects.toThrow('has more than');
  });
});
