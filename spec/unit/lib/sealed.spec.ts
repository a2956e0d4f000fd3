import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createSealer, loadSealer } from '../../../src/lib/sealed.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sealed-'));
});

afterEach(() => rm(directory, { recursive: true }));

const setupError = { name: 'SetupError' };

test('a sealed secret opens under its key and context, and looks different each time', () => {
  const sealer = createSealer(randomBytes(32));
  const sealed = sealer.seal('gehéim', 'a');
  expect(sealer.open(sealed, 'a')).toBe('gehéim');
  expect(sealer.seal('gehéim', 'a')).not.toBe(sealed);
  expect(sealed).not.toContain(Buffer.from('gehéim').toString('base64url'));
});

test('another key, another context, and any changed character are refused without the secret in the message', () => {
  const sealer = createSealer(randomBytes(32));
  const sealed = sealer.seal('geheim', 'a');
  expect(() => createSealer(randomBytes(32)).open(sealed, 'a')).toThrow(expect.objectContaining(setupError));
  expect(() => sealer.open(sealed, 'b')).toThrow(expect.objectContaining(setupError));
  // The last character has bits that base64url does not use.
  for (let index = 0; index < sealed.length - 1; index += 1) {
    const changed = sealed.slice(0, index) + (sealed[index] === 'A' ? 'B' : 'A') + sealed.slice(index + 1);
    expect(() => sealer.open(changed, 'a')).toThrow(expect.objectContaining(setupError));
  }
  for (const text of ['', 'v1.', 'v1.AAAA', 'v2.' + sealed.slice(3)]) expect(() => sealer.open(text, 'a')).toThrow(expect.objectContaining(setupError));
});

test('the key file is made once, for its owner alone, also by many at once, and nothing else is left', async () => {
  const file = join(directory, 'state', 'secret.key');
  const sealers = await Promise.all(Array.from({ length: 20 }, () => loadSealer(file)));
  const sealed = sealers.map((sealer) => sealer.seal('geheim', 'a'));
  const again = await loadSealer(file);
  expect(sealed.map((text) => again.open(text, 'a'))).toEqual(Array(20).fill('geheim'));
  const { mode, size } = await stat(file);
  expect([(mode & 0o777).toString(8), size]).toEqual(['600', 32]);
  expect(await readdir(join(directory, 'state'))).toEqual(['secret.key']);
});

test('a key file that others can read, or that is damaged, is refused and left as it is', async () => {
  const file = join(directory, 'secret.key');
  await writeFile(file, randomBytes(31), { mode: 0o600 });
  await expect(loadSealer(file)).rejects.toMatchObject(setupError);
  await writeFile(file, randomBytes(32));
  await chmod(file, 0o640);
  await expect(loadSealer(file)).rejects.toMatchObject({ ...setupError, remedy: `chmod 600 ${file}` });
  expect((await stat(file)).mode & 0o777).toBe(0o640);
});
