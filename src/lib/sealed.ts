// Secrets at rest: AES-256-GCM under a key in a file that is not in the database. Each sealed text is bound to a context (the id of
// what it belongs to), so that whoever can write to the database cannot move one person's secret to another's row.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { chmod, link, mkdir, open, readFile, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SetupError } from './errors.ts';

export interface Sealer {
  /** A text that says nothing of the secret but its length. Differs each time. */
  seal(secret: string, context: string): string;
  /** Throws a SetupError when the text was sealed under another key, for another context, or changed since. */
  open(sealed: string, context: string): string;
}

const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const formatPrefix = 'v1.';

export function createSealer(key: Buffer): Sealer {
  if (key.length !== keyBytes) throw new SetupError(`the secret key has ${key.length} bytes`, `It must have ${keyBytes}.`);
  return {
    seal(secret, context) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context, 'utf8'));
      const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
      return formatPrefix + Buffer.concat([nonce, text, cipher.getAuthTag()]).toString('base64url');
    },
    open(sealed, context) {
      const bytes = Buffer.from(sealed.slice(formatPrefix.length), 'base64url');
      if (!sealed.startsWith(formatPrefix) || bytes.length < nonceBytes + tagBytes) throw wrongKey(context);
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
      decipher.setAAD(Buffer.from(context, 'utf8')).setAuthTag(bytes.subarray(-tagBytes));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]).toString('utf8');
      } catch (cause) {
        throw wrongKey(context, cause);
      }
    },
  };
}

/** The sealer whose key is in `file`, made there with mode 0600 if it is absent. Of several processes that start at once, all get the same key. */
export async function loadSealer(file: string): Promise<Sealer> {
  const existing = await readKey(file);
  if (existing !== undefined) return createSealer(existing);
  await createKey(file);
  const created = await readKey(file);
  if (created === undefined) throw new SetupError(`${file} vanished while it was read`, 'See who else writes there, and start again.');
  return createSealer(created);
}

async function readKey(file: string): Promise<Buffer | undefined> {
  try {
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0) throw new SetupError(`${file} can be read by others`, `chmod 600 ${file}`);
    const key = await readFile(file);
    if (key.length !== keyBytes) throw new SetupError(`${file} is damaged: ${key.length} bytes instead of ${keyBytes}`, 'Restore it from a backup.');
    return key;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Written whole under another name first, then linked into place, which fails if another process was faster. */
async function createKey(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}-${randomBytes(4).toString('hex')}`;
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle.writeFile(randomBytes(keyBytes));
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await chmod(draft, 0o600);
    await link(draft, file);
    await syncDirectory(dirname(file));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(draft);
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const wrongKeyRemedy = 'The file secret.key does not belong to this database; restore the one it was made with.';

const wrongKey = (context: string, cause?: unknown): SetupError => new SetupError(`the secret of ${context} cannot be opened`, wrongKeyRemedy, { cause });
