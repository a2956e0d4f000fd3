// Certificates by the openssl command. What it reads lies in a folder of its own for the moment, closed to others; keys are made here, not there.
import { generateKeyPair, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DriverError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import type { CertificateDriver, Issued, KeyAndCertificate, Revoked } from './driver.ts';

/** Names are written into commands and configuration: letters, digits, and what is harmless between them. */
const nameForm = /^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,62}$/;

const hostForm = /^(\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;

const extensions = {
  root: 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n',
  intermediate: 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n',
  server: 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n',
  client: 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\nauthorityKeyIdentifier=keyid\n',
  person: 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,nonRepudiation,keyEncipherment\nextendedKeyUsage=clientAuth\n'
    + 'subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n',
  recipient: 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyEncipherment\nsubjectKeyIdentifier=hash\n',
} as const;

type Kind = keyof typeof extensions;

/** P-256, but where tools of EC2's first years use the key: they know RSA alone. It is made beside the event loop, as RSA takes a while. */
async function newKey(kind: Kind): Promise<string> {
  const generate = promisify(generateKeyPair);
  const { privateKey } = kind === 'person' || kind === 'recipient'
    ? await generate('rsa', { modulusLength: 2_048 })
    : await generate('ec', { namedCurve: 'prime256v1' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

export function createOpensslCertificates({ run }: { readonly run: Run }): CertificateDriver {
  async function sign(wish: {
    name: string; days: number; kind: Kind; issuer: KeyAndCertificate | undefined; hosts?: readonly string[] | undefined;
  }): Promise<Issued> {
    if (!nameForm.test(wish.name)) throw new DriverError('failed', `${JSON.stringify(wish.name)} cannot be the name in a certificate`);
    const key = await newKey(wish.kind);
    // Positive, of whole bytes, and never two alike.
    const serial = `4${randomBytes(16).toString('hex').slice(1)}`;
    return inFolder(async (folder) => {
      const file = (name: string): string => join(folder, name);
      await writeFile(file('key'), key, { mode: 0o600 });
      await writeFile(file('extensions'), extensions[wish.kind] + renderHosts(wish.hosts ?? []));
      await run('openssl', ['req', '-new', '-sha256', '-key', file('key'), '-subj', `/CN=${wish.name}`, '-out', file('request')]);
      await writeFile(file('issuer.key'), wish.issuer?.key ?? key, { mode: 0o600 });
      if (wish.issuer !== undefined) await writeFile(file('issuer'), wish.issuer.certificate);
      const by = wish.issuer === undefined ? ['-signkey', file('issuer.key')] : ['-CA', file('issuer'), '-CAkey', file('issuer.key')];
      const { stdout: certificate } = await run('openssl', [
        'x509', '-req', '-sha256', '-in', file('request'), ...by, '-set_serial', `0x${serial}`, '-days', String(wish.days), '-extfile', file('extensions'),
      ]);
      return { certificate, key, serial: serial.toUpperCase(), expiresAt: new Date(new X509Certificate(certificate).validTo) };
    });
  }

  return {
    async createAuthority({ name, days, issuer }) {
      const { certificate, key } = await sign({ name, days, issuer, kind: issuer === undefined ? 'root' : 'intermediate' });
      return { certificate, key };
    },
    issue: ({ name, days, usage, issuer, hosts }) => sign({ name, days, issuer, kind: usage, hosts }),
    revocations: (issuer, revoked, now) => inFolder(async (folder) => {
      const file = (name: string): string => join(folder, name);
      await writeFile(file('issuer'), issuer.certificate);
      await writeFile(file('issuer.key'), issuer.key, { mode: 0o600 });
      await writeFile(file('index'), renderIndex(revoked));
      await writeFile(file('configuration'), renderConfiguration(folder));
      const since = ['-crl_lastupdate', stamp(new Date(now.getTime() - clockLeewayMs)), '-crl_nextupdate', stamp(new Date(now.getTime() + listValidMs))];
      return (await run('openssl', ['ca', '-config', file('configuration'), '-gencrl', ...since])).stdout;
    }),
    async createRecipient({ name, days }) {
      const { certificate, key } = await sign({ name, days, issuer: undefined, kind: 'recipient' });
      return { certificate, key };
    },
    // Node refuses this padding in some versions (CVE-2023-46809) and answers with random bytes in others; openssl does one thing everywhere.
    decrypt: (key, encrypted) => inFolder(async (folder) => {
      const file = (name: string): string => join(folder, name);
      await writeFile(file('key'), key, { mode: 0o600 });
      await writeFile(file('encrypted'), encrypted);
      const { stdout } = await run('openssl', ['pkeyutl', '-decrypt', '-inkey', file('key'), '-pkeyopt', 'rsa_padding_mode:pkcs1', '-in', file('encrypted')])
        .catch((cause: unknown) => Promise.reject(new DriverError('failed', 'it cannot be decrypted with that key', { cause })));
      return stdout;
    }),
  };
}

function renderHosts(hosts: readonly string[]): string {
  const wrong = hosts.find((host) => isIP(host) === 0 && !hostForm.test(host));
  if (wrong !== undefined) throw new DriverError('failed', `${JSON.stringify(wrong)} cannot be the name of a host in a certificate`);
  return hosts.length === 0 ? '' : `subjectAltName=${hosts.map((host) => `${isIP(host) === 0 ? 'DNS' : 'IP'}:${host}`).join(',')}\n`;
}

/** It is made anew with every change, and must not end by itself: then nobody could connect any more. */
const listValidMs = 20 * 365 * 86_400_000;
const clockLeewayMs = 3_600_000;

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'novact-certificates-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const renderConfiguration = (folder: string): string => `[ca]
default_ca = this
[this]
database = ${folder}/index
certificate = ${folder}/issuer
private_key = ${folder}/issuer.key
default_md = sha256
`;

/** The form in which openssl keeps what it has signed, of which only the revoked ones are needed. */
export const renderIndex = (revoked: readonly Revoked[]): string =>
  revoked.map((each) => `R\t${utcTime(each.expiresAt)}\t${utcTime(each.revokedAt)}\t${each.serial.toUpperCase()}\tunknown\t/CN=revoked\n`).join('');

/** `20261129132100Z`. */
const stamp = (date: Date): string => `${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
/** `261129132100Z`, as certificates have it until 2049. */
const utcTime = (date: Date): string => stamp(date).slice(2);
