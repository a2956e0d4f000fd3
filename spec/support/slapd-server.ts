// A private slapd for one spec file, with the schemas that novact ships: its own folder and port, TLS, a folder of settings, and all that can
// happen to a server. Its root account is `cn=Manager`.
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ldapSettings, type LdapSettings } from '../../src/drivers/auth/ldap/settings.ts';
import { Secret } from '../../src/lib/secret.ts';
import { freePort } from './free-port.ts';
import { makeCertificates } from './redis-server.ts';
import { ServerChild } from './server-child.ts';

const run = promisify(execFile);
const shipped = (name: string): string => resolve(import.meta.dirname, '../../ldap', name);

export const slapdSuffix = 'dc=example,dc=com';
export const slapdManager = { dn: `cn=Manager,${slapdSuffix}`, password: 'correct horse' } as const;

export interface SlapdServer {
  readonly url: string;
  readonly secureUrl: string;
  /** The same server at an address that its certificate does not name. */
  readonly unnamedUrl: string;
  /** File of the authority that signed its certificate. */
  readonly authorityFile: string;
  readonly authority: string;
  start(): Promise<void>;
  kill9(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Entries as LDIF, put in by ldapadd or changed by ldapmodify. */
  load(ldif: string): Promise<void>;
  /** What ldapsearch prints, without comments and folded lines; asked as the root account. */
  ldapsearch(...words: readonly string[]): Promise<string>;
  close(): Promise<void>;
}

export interface SlapdOptions {
  /** More lines of slapd.conf, of the database. */
  readonly settings?: readonly string[];
  /** Default: the empty layout that novact ships. */
  readonly layout?: string;
}

/** A started server. */
export async function startSlapd({ settings = [], layout }: SlapdOptions = {}): Promise<SlapdServer> {
  const folder = mkdtempSync(join(tmpdir(), 'novact-slapd-'));
  const at = (name: string): string => join(folder, name);
  const [port, securePort] = [await freePort(), await freePort()];
  const [url, secureUrl, unnamedUrl] = [`ldap://127.0.0.1:${port}`, `ldaps://127.0.0.1:${securePort}`, `ldap://127.0.0.2:${port}`];
  const { ca, certificate, key } = makeCertificates(folder);
  mkdirSync(at('db'));
  writeFileSync(at('slapd.conf'), settingsText({ folder, ca, certificate, key, settings }));
  const base = `dn: ${slapdSuffix}\nobjectClass: dcObject\nobjectClass: organization\no: spec\ndc: example\n\n`;
  writeFileSync(at('base.ldif'), base);
  execFileSync('slapadd', ['-q', '-f', at('slapd.conf'), '-l', at('base.ldif')], { stdio: 'pipe' });
  const child = new ServerChild('slapd', '-d', '0', '-f', at('slapd.conf'), '-h', `${url}/ ${secureUrl}/ ${unnamedUrl}/`);
  const asRoot = ['-x', '-H', url, '-D', slapdManager.dn, '-w', slapdManager.password];
  const ask = async (program: string, ...words: readonly string[]): Promise<string> =>
    (await run(program, [...asRoot, ...words], { timeout: 10_000, maxBuffer: 16 * 1024 * 1024 })).stdout;
  const start = async (): Promise<void> => {
    child.start();
    await child.answers(async () => (await ask('ldapsearch', '-LLL', '-b', slapdSuffix, '-s', 'base')).includes(slapdSuffix));
  };
  let loads = 0;
  const load = async (ldif: string): Promise<void> => {
    const file = at(`${loads += 1}.ldif`);
    writeFileSync(file, ldif);
    await ask('ldapmodify', '-a', '-f', file);
  };
  await start();
  await load(layout ?? readFileSync(shipped('base.ldif'), 'utf8'));
  return {
    url, secureUrl, unnamedUrl, authorityFile: ca, authority: readFileSync(ca, 'utf8'), start, load,
    kill9: () => child.end('SIGKILL'),
    pause: () => child.signal('SIGSTOP'),
    resume: () => child.signal('SIGCONT'),
    ldapsearch: (...words) => ask('ldapsearch', '-LLL', '-o', 'ldif-wrap=no', ...words),
    async close() {
      await child.end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface SettingsInput {
  readonly folder: string;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly settings: readonly string[];
}

function settingsText({ folder, ca, certificate, key, settings }: SettingsInput): string {
  const schemas = [...['core', 'cosine', 'inetorgperson'].map((name) => `/etc/ldap/schema/${name}.schema`), shipped('nova.schema'), shipped('novact.schema')];
  return [
    ...schemas.map((file) => `include ${file}`), 'modulepath /usr/lib/ldap', 'moduleload back_mdb', `pidfile ${join(folder, 'pid')}`,
    `TLSCACertificateFile ${ca}`, `TLSCertificateFile ${certificate}`, `TLSCertificateKeyFile ${key}`,
    'database mdb', `suffix "${slapdSuffix}"`, `rootdn "${slapdManager.dn}"`, `rootpw "${slapdManager.password}"`, `directory ${join(folder, 'db')}`,
    'index objectClass,uid,cn,member eq', ...settings, '',
  ].join('\n');
}

/** Settings of the driver for Nova's own layout on that server. */
export function slapdSettings(server: Pick<SlapdServer, 'url' | 'authority'>, changes: Partial<LdapSettings> = {}): LdapSettings {
  const groups = changes.groupBase ?? `ou=Groups,${slapdSuffix}`;
  return ldapSettings.parse({
    urls: [server.url], bindDn: slapdManager.dn, password: new Secret(slapdManager.password), authority: server.authority,
    roleGroups: {
      cloudadmin: `cn=cloudadmins,${groups}`, itsec: `cn=itsec,${groups}`, sysadmin: `cn=sysadmins,${groups}`, netadmin: `cn=netadmins,${groups}`,
      developer: `cn=developers,${groups}`,
    },
    ...changes,
  });
}
