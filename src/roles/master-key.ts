// The key that seals the secrets of the cloud: the same file on every host, held against a fingerprint in the database, so that a host with
// another key is refused at its start and not at the first secret that it cannot read.
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Db } from '../db/db.ts';
import { ensureSetting, readSetting } from '../db/hosts.ts';
import { SetupError } from '../lib/errors.ts';
import { loadSealer, type Sealer } from '../lib/sealed.ts';

/** Made on the very first start of the cloud only. Callers hold the founding lock. */
export async function openMasterKey(db: Db, file: string): Promise<Sealer> {
  const known = (await readSetting(db, 'keyFingerprint')) !== undefined || (await readSetting(db, 'founderKey')) !== undefined;
  if (known && !(await exists(file))) {
    const remedy = `Copy it, mode 0600, from a host that works, to ${file}; or name it with NOVACT_MASTER_KEY.`;
    throw new SetupError(`there is no master key in ${file}, but this cloud has one`, remedy);
  }
  const sealer = await loadSealer(file);
  const fingerprint = createHmac('sha256', await readFile(file)).update('novact master key').digest('hex').slice(0, 32);
  if ((await ensureSetting(db, 'keyFingerprint', () => fingerprint)) === fingerprint) return sealer;
  throw new SetupError(
    `the master key in ${file} is not the one of this cloud: its secrets could not be read`,
    'Copy the key from a host that works, mode 0600, or name it with NOVACT_MASTER_KEY.',
  );
}

const exists = (file: string): Promise<boolean> => readFile(file).then(() => true, (error: NodeJS.ErrnoException) => {
  if (error.code === 'ENOENT') return false;
  throw error;
});
