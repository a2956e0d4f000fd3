// Runs the servers that novact starts under accounts of their own, where it is root.

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** The command, run as that account with nothing of our environment: a stray PGDATA or PGPORT must not reach the server. */
export function commandAs(account: Account, command: string, args: readonly string[]): readonly [string, readonly string[]] {
  const clean = ['env', '-i', 'PATH=/usr/bin:/bin', 'LC_ALL=C', command, ...args];
  if (process.getuid?.() !== 0) return ['env', clean.slice(1)];
  return ['setpriv', ['--reuid', String(account.uid), '--regid', String(account.gid), '--clear-groups', '--', ...clean]];
}
