// One connection to a directory, bound as somebody. It is used until it breaks and never again: ldapts would connect anew by itself, but as
// nobody, and what nobody may see would look as if it did not exist.
import { connect, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { Client, InvalidCredentialsError } from 'ldapts';
import type { Clock } from '../../../lib/clock.ts';
import type { Secret } from '../../../lib/secret.ts';
import { ldapError, outage } from './errors.ts';
import type { LdapSettings } from './settings.ts';

export interface LdapConnection {
  readonly client: Client;
  readonly isAlive: () => boolean;
  close(): void;
}

export interface Who {
  readonly dn: string;
  readonly password: Secret;
}

type ConnectionSettings = Pick<LdapSettings, 'startTls' | 'authority' | 'timeoutMs'>;

/** Connected, under TLS if that is wanted, and bound. Rejects with a DriverError; `undefined` when the password is wrong. */
export async function openConnection(url: string, who: Who, settings: ConnectionSettings, clock: Clock): Promise<LdapConnection | undefined> {
  const { hostname, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const isSecure = protocol === 'ldaps:';
  const tls = { host, minVersion: 'TLSv1.2', ...(settings.authority === undefined ? {} : { ca: settings.authority }) } as const;
  let socket: Socket | undefined;
  const once = <T extends Socket>(open: () => T): T => {
    if (socket !== undefined) throw new Error('the connection is broken');
    const opened = open();
    socket = opened;
    return opened;
  };
  const client = new Client({
    url, timeout: settings.timeoutMs, connectTimeout: settings.timeoutMs,
    ...(isSecure ? { tlsOptions: tls, createSecureConnection: () => once(() => connectSecurely({ ...tls, port: portOf(url) })) }
      : { createConnection: () => once(() => connect({ host, port: portOf(url) })) }),
  });
  const close = (): void => void socket?.destroy();
  const opening = async (): Promise<void> => {
    if (!isSecure && settings.startTls) await client.startTLS({ ...tls });
    await client.bind(who.dn, who.password.reveal());
  };
  try {
    await withinTime(opening(), settings.timeoutMs, clock);
    return { client, isAlive: () => client.isConnected && socket?.destroyed === false, close };
  } catch (error) {
    close();
    if (error instanceof InvalidCredentialsError) return undefined;
    throw ldapError(`connect to the directory ${hostOf(url)}`, error);
  }
}

/** The handshake of TLS has no limit of its own. */
function withinTime(work: Promise<void>, timeoutMs: number, clock: Clock): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(timeoutMs, () => reject(outage('connect to the directory: it took too long')));
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}

const portOf = (url: string): number => {
  const { port, protocol } = new URL(url);
  if (port !== '') return Number(port);
  return protocol === 'ldaps:' ? 636 : 389;
};

/** Without what else may stand in a URL. */
const hostOf = (url: string): string => new URL(url).host;
