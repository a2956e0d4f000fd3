// The configuration files of the private cluster, rendered whole at every start: durable, small, and reachable only through a socket in
// a folder that nobody else can enter.

export interface ClusterConfiguration {
  readonly socketDirectory: string;
  /** False only for tests: commits then do not wait for the disk. */
  readonly durable: boolean;
  readonly connectionsMax: number;
}

/** The superuser of the cluster and the name of its database. */
export const databaseUser = 'novact';
export const databaseName = 'novact';

/** Sized for a control plane: the whole of novact is to stay under 300 MB. */
export function renderConfiguration(configuration: ClusterConfiguration): string {
  const values: Record<string, string | number | boolean> = {
    listen_addresses: '',
    unix_socket_directories: configuration.socketDirectory,
    unix_socket_permissions: '0700',
    port: 5432,
    max_connections: configuration.connectionsMax,
    superuser_reserved_connections: 2,
    shared_buffers: '32MB',
    work_mem: '4MB',
    maintenance_work_mem: '16MB',
    huge_pages: false,
    jit: false,
    max_worker_processes: 2,
    max_parallel_workers: 0,
    max_parallel_workers_per_gather: 0,
    max_logical_replication_workers: 0,
    autovacuum_max_workers: 1,
    wal_level: 'minimal',
    max_wal_senders: 0,
    min_wal_size: '32MB',
    max_wal_size: '256MB',
    fsync: configuration.durable,
    synchronous_commit: configuration.durable,
    full_page_writes: configuration.durable,
    idle_in_transaction_session_timeout: '60s',
    tcp_keepalives_idle: 0,
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_min_messages: 'warning',
    log_checkpoints: false,
    log_line_prefix: '%m [%p] ',
  };
  const lines = Object.entries(values).map(([name, value]) => `${name} = ${quoted(value)}`);
  return ['# Written by novact at every start.', ...lines, ''].join('\n');
}

/** Only the operating system's word counts, and only for the accounts in the map. */
export const renderAccess = (): string => '# Written by novact at every start.\nlocal all all peer map=novact\n';

export const renderAccounts = (accounts: readonly string[]): string =>
  ['# Written by novact at every start.', ...accounts.map((account) => `novact ${quotedAccount(account)} ${databaseUser}`), ''].join('\n');

/** What libpq understands too: the folder of the socket is in `host`. */
export const databaseUrlOf = (socketDirectory: string): string =>
  `postgres://${databaseUser}@localhost/${databaseName}?host=${encodeURIComponent(socketDirectory)}`;

function quoted(value: string | number | boolean): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return typeof value === 'number' ? String(value) : `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

const quotedAccount = (account: string): string => `"${account.replaceAll('"', '""')}"`;
