// By what the endpoints of a process prove that they are this cloud's: a key of its own that is kept nowhere else, and a certificate from the
// cloud's authority for endpoints. It is made at the start, and anew before it ends or when the machine has other names.
import { hostname, networkInterfaces } from 'node:os';
import { isIP } from 'node:net';
import type { Identity, Tls } from '../api/http/web-server.ts';
import type { Settings } from '../config/settings.ts';
import { createOpensslCertificates } from '../drivers/certificates/openssl.ts';
import type { Issued } from '../drivers/certificates/driver.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Foundation } from './foundation.ts';
import { endpointAuthority } from './manage/authority-life.ts';

const validDays = 90;
const dayMs = 86_400_000;
const renewBeforeMs = (validDays / 3) * dayMs;
const lookMs = 3_600_000;

/** Undefined: the endpoints speak plain HTTP. */
export async function openTls(foundation: Foundation): Promise<Tls | undefined> {
  const { settings, clock, log, drain } = foundation;
  if (settings.tls === 'no') return undefined;
  const issuer = await endpointAuthority(foundation);
  const certificates = createOpensslCertificates({ run: foundation.run });
  const identity = await keepIdentity({
    clock, log,
    hosts: () => endpointHosts(settings, { hostname: hostname(), addresses: ownAddresses() }),
    issue: async (hosts) => {
      const issued = await certificates.issue({ name: 'novact endpoint', days: validDays, usage: 'server', issuer, hosts });
      return { ...issued, certificate: issued.certificate + issuer.certificate };
    },
  });
  drain.add('server', () => Promise.resolve(identity.stop()));
  return { plain: settings.tls === 'both' ? 'served' : 'refused', identity: identity.current, onRenewed: identity.onRenewed };
}

export interface Keeping {
  readonly clock: Clock;
  readonly log: Log;
  readonly hosts: () => readonly string[];
  readonly issue: (hosts: readonly string[]) => Promise<Issued>;
}

export interface KeptIdentity extends Pick<Tls, 'onRenewed'> {
  readonly current: () => Identity;
  readonly stop: () => void;
}

/** What cannot be renewed now is tried again in an hour: there is a month for it. */
export async function keepIdentity({ clock, log, hosts, issue }: Keeping): Promise<KeptIdentity> {
  const listeners: ((identity: Identity) => void)[] = [];
  let names = hosts();
  let issued = await issue(names);
  async function look(): Promise<void> {
    const today = hosts();
    const isFresh = issued.expiresAt.getTime() - clock.now() > renewBeforeMs && today.join() === names.join();
    try {
      if (isFresh) return;
      [issued, names] = [await issue(today), today];
      for (const listener of listeners) listener(issued);
      log.info({ serial: issued.serial, until: issued.expiresAt }, 'the endpoints have a new certificate');
    } catch (error) {
      log.warn({ error: messageOf(error), until: issued.expiresAt }, 'the certificate of the endpoints could not be renewed');
    } finally {
      timer = next();
    }
  }
  let isStopped = false;
  const next = () => (isStopped ? undefined : clock.after(lookMs, () => void look(), { unref: true }));
  let timer = next();
  return {
    current: () => issued,
    onRenewed: (listener) => void listeners.push(listener),
    stop() {
      isStopped = true;
      timer?.cancel();
    },
  };
}

export interface Machine {
  readonly hostname: string;
  readonly addresses: readonly string[];
}

const everywhere: readonly string[] = ['0.0.0.0', '::'];

/** What clients may call the endpoints of this process: this machine, itself, the URLs that others are told, and what the settings add. */
export function endpointHosts(settings: Settings, machine: Machine): readonly string[] {
  const { bind, host, address, ec2Url } = settings;
  const buckets = ['s3.localhost', ...bucketDomains(settings)];
  const listening = everywhere.includes(bind) ? machine.addresses : [bind];
  const urls = ec2Url === undefined ? [] : [hostOf(ec2Url)];
  const names = ['localhost', '127.0.0.1', '::1', host, machine.hostname, ...listening, address, ...urls, ...moreHosts(settings), ...buckets];
  return [...new Set([...names.filter((name) => name !== undefined), ...buckets.map((domain) => `*.${domain}`)])];
}

/** Names that buckets may stand before: `bucket.s3.example.com`. A wildcard counts only before a name of two parts or more. */
export function bucketDomains(settings: Settings): readonly string[] {
  const hosts = [...(settings.s3Url === undefined ? [] : [hostOf(settings.s3Url)]), ...moreHosts(settings)];
  return hosts.filter((host) => isIP(host) === 0 && host.includes('.')).map((host) => host.toLowerCase());
}

const moreHosts = ({ tlsNames }: Settings): readonly string[] => tlsNames?.split(',') ?? [];
const hostOf = (url: string): string => new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');
const ownAddresses = (): readonly string[] =>
  Object.values(networkInterfaces()).flatMap((of = []) => of.filter(({ scopeid }) => !scopeid).map((each) => each.address)).toSorted();
