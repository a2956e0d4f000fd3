// The key that bundles of images are encrypted to: one for the cloud, made at its first need, sealed with the master key. Its certificate is for
// everybody (`cloud-cert.pem`); the objectstore alone opens the key.
import { createOpensslCertificates } from '../drivers/certificates/openssl.ts';
import { ensureSetting, readSetting } from '../db/hosts.ts';
import type { Foundation } from './foundation.ts';

/** Bundles are kept for years, and cannot be registered any more with another key. */
const validDays = 20 * 365;
const context = 'bundling key';

interface BundlingSetting {
  readonly certificate: string;
  readonly sealedKey: string;
}

type Deps = Pick<Foundation, 'db' | 'sealer' | 'run'>;

/** Of several that make one at the same time, one is kept. */
async function ensureBundlingKey({ db, sealer, run }: Deps): Promise<BundlingSetting> {
  if ((await readSetting(db, 'bundlingKey')) === undefined) {
    const { certificate, key } = await createOpensslCertificates({ run }).createRecipient({ name: 'novact bundles', days: validDays });
    const setting: BundlingSetting = { certificate, sealedKey: sealer.seal(key, context) };
    await ensureSetting(db, 'bundlingKey', () => JSON.stringify(setting));
  }
  return JSON.parse((await readSetting(db, 'bundlingKey')) ?? '{}') as BundlingSetting;
}

/** What bundlers are given: PEM. */
export async function bundlingCertificate(deps: Deps): Promise<string> {
  return (await ensureBundlingKey(deps)).certificate;
}

export async function openBundlingKey(deps: Deps): Promise<{ readonly decrypt: (encrypted: Buffer) => Promise<string> }> {
  const { sealedKey } = await ensureBundlingKey(deps);
  const certificates = createOpensslCertificates({ run: deps.run });
  const key = deps.sealer.open(sealedKey, context);
  return { decrypt: (encrypted) => certificates.decrypt(key, encrypted) };
}
