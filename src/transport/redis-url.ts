// The one reading of `NOVACT_REDIS_URL`, for both clients: a server (`redis://`, TLS `rediss://`, a socket `redis:///run/redis.sock`), or a
// set of sentinels (`redis+sentinel://user:password@h1:26379,h2:26379/NAME`). No message here shows a password.
import { SetupError } from '../lib/errors.ts';

export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

export interface RedisTarget {
  readonly tls: boolean;
  /** A unix socket; then there are no nodes. */
  readonly socketPath: string | undefined;
  /** The server, or the sentinels that know it. */
  readonly nodes: readonly RedisNode[];
  /** The name under which the sentinels know the server; undefined: `nodes` is the server itself. */
  readonly sentinelName: string | undefined;
  readonly database: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** Of the sentinels themselves: `?sentinel-username=…&sentinel-password=…`. */
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: string | undefined;
}

const remedy = 'write redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss://… (TLS), redis:///PATH/TO/SOCKET, '
  + 'or redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/NAME[/DATABASE]';

const refuse = (what: string): never => {
  throw new SetupError(`the address of Redis is not understood: ${what}`, remedy);
};

/** Throws SetupError for what it cannot read. */
export function parseRedisUrl(text: string): RedisTarget {
  const [, scheme = '', userInfo, nodes = '', path = '', query = ''] = /^([a-z+]+):\/\/(?:([^/?#]*)@)?([^/?#@]*)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(text) ?? [];
  if (!/^rediss?(\+sentinel)?$/.test(scheme)) refuse('it has no known scheme');
  const isSentinel = scheme.endsWith('+sentinel');
  const tls = scheme.startsWith('rediss');
  const credentials = credentialsOf(userInfo);
  const parameters = new URLSearchParams(query);
  const sentinelUsername = parameters.get('sentinel-username') ?? undefined;
  const sentinelPassword = parameters.get('sentinel-password') ?? undefined;
  const common = { tls, ...credentials, sentinelUsername, sentinelPassword };
  if (isSentinel) {
    const [name = '', database] = path.slice(1).split('/');
    if (name === '') refuse('the name that the sentinels know it by is missing');
    return { ...common, socketPath: undefined, nodes: nodesOf(nodes, 26_379), sentinelName: decoded(name), database: databaseOf(database) };
  }
  if (nodes === '' && path.length > 1) {
    if (tls) refuse('a socket has no TLS');
    return { ...common, socketPath: decoded(path), nodes: [], sentinelName: undefined, database: databaseOf(parameters.get('db') ?? undefined) };
  }
  const [node, ...others] = nodesOf(nodes, 6379);
  if (node === undefined || others.length > 0) refuse('several servers need their sentinels');
  return { ...common, socketPath: undefined, nodes: node === undefined ? [] : [node], sentinelName: undefined, database: databaseOf(path.slice(1)) };
}

/** For logs: without credentials. */
export function describeRedis(target: RedisTarget): string {
  const scheme = `${target.tls ? 'rediss' : 'redis'}${target.sentinelName === undefined ? '' : '+sentinel'}`;
  const nodes = target.nodes.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',');
  return `${scheme}://${nodes}${target.socketPath ?? ''}${target.sentinelName === undefined ? '' : `/${target.sentinelName}`}`;
}

function credentialsOf(userInfo: string | undefined): { username: string | undefined; password: string | undefined } {
  if (userInfo === undefined || userInfo === '') return { username: undefined, password: undefined };
  const colon = userInfo.indexOf(':');
  const username = decoded(colon < 0 ? userInfo : userInfo.slice(0, colon));
  return { username: username === '' ? undefined : username, password: colon < 0 ? undefined : decoded(userInfo.slice(colon + 1)) };
}

function nodesOf(text: string, portDefault: number): RedisNode[] {
  return text.split(',').map((node) => {
    const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(node) ?? [];
    const host = bracketed ?? plain;
    const number = port === undefined ? portDefault : Number(port);
    if (host === undefined || number < 1 || number > 65_535) return refuse('a server is written HOST or HOST:PORT');
    return { host, port: number };
  });
}

function databaseOf(text: string | undefined): number {
  if (text === undefined || text === '') return 0;
  return /^\d{1,5}$/.test(text) ? Number(text) : refuse('the database is a number');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return refuse('a percent sign is written %25');
  }
}
