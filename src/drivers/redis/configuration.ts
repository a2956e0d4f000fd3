// The configuration of the private Redis, rendered whole at every start: no port, a socket in a folder that nobody else can enter, and what
// mailboxes need: written to disk every second, and nothing thrown away when memory is short.

export interface RedisConfiguration {
  readonly directory: string;
  readonly socket: string;
  readonly pidFile: string;
  readonly logFile: string;
  readonly password: string;
}

export function renderConfiguration({ directory, socket, pidFile, logFile, password }: RedisConfiguration): string {
  const values: readonly (readonly [string, string])[] = [
    ['port', '0'],
    ['unixsocket', quoted(socket)],
    ['unixsocketperm', '700'],
    ['dir', quoted(directory)],
    ['daemonize', 'yes'],
    ['pidfile', quoted(pidFile)],
    ['logfile', quoted(logFile)],
    ['loglevel', 'notice'],
    ['always-show-logo', 'no'],
    ['set-proc-title', 'yes'],
    ['requirepass', quoted(password)],
    ['save', '""'],
    ['appendonly', 'yes'],
    ['appendfsync', 'everysec'],
    ['aof-load-truncated', 'yes'],
    ['maxmemory-policy', 'noeviction'],
    ['stop-writes-on-bgsave-error', 'no'],
    ['databases', '1'],
  ];
  return ['# Written by novact at every start.', ...values.map(([name, value]) => `${name} ${value}`), ''].join('\n');
}

const quoted = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
