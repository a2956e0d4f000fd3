// Certificates for hosts that speak TLS with each other, made by openssl: one authority, and for each address a certificate that serves and
// asks. In the names that QEMU looks for, and for libvirt's clients too (`pkipath`).
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';

const run = createRun({ log: silentLog });
const openssl = (...args: readonly string[]) => run('openssl', args, { timeoutMs: 30_000 });

/** A folder for each address, in the order given, below `folder`. */
export async function makeCertificates(folder: string, addresses: readonly string[]): Promise<string[]> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const [caKey, ca] = [join(folder, 'ca-key.pem'), join(folder, 'ca-cert.pem')];
  await openssl('req', '-x509', ...fresh(caKey), '-out', ca, '-days', '2', '-subj', '/CN=spec');
  return Promise.all(addresses.map(async (address) => {
    const own = join(folder, address);
    await mkdir(own, { recursive: true, mode: 0o755 });
    const at = (name: string) => join(own, name);
    await openssl('req', ...fresh(at('server-key.pem')), '-out', at('request'), '-subj', `/CN=${address}`);
    await writeFile(at('extensions'), `subjectAltName=IP:${address}\nkeyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n`);
    await openssl('x509', '-req', '-in', at('request'), '-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-CAserial', at('serial'), '-days', '2',
      '-extfile', at('extensions'), '-out', at('server-cert.pem'));
    for (const [from, ...to] of [['server-key', 'client-key', 'clientkey'], ['server-cert', 'client-cert', 'clientcert']]) {
      for (const name of to) await copyFile(at(`${from}.pem`), at(`${name}.pem`));
    }
    for (const name of ['ca-cert.pem', 'cacert.pem']) await copyFile(ca, at(name));
    return own;
  }));
}

const fresh = (key: string): string[] => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key];
