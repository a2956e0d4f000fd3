// Who the server runs as: PostgreSQL refuses to be root, so root hands it to the distribution's `postgres` account.
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** The account for the server, or undefined where root has none to hand it to. */
export function serverAccount(passwd = '/etc/passwd'): Account | undefined {
  const own = userInfo();
  if (own.uid !== 0) return { name: own.username, uid: own.uid, gid: own.gid };
  for (const line of readFileSync(passwd, 'utf8').split('\n')) {
    const [name, , uid, gid] = line.split(':');
    if (name === 'postgres' && uid !== undefined && gid !== undefined) return { name, uid: Number(uid), gid: Number(gid) };
  }
  return undefined;
}

/** The command, run as that account with nothing of our environment: a stray PGDATA or PGPORT must not reach the server. */
export function commandAs(account: Account, command: string, args: readonly string[]): readonly [string, readonly string[]] {
  const clean = ['env', '-i', 'PATH=/usr/bin:/bin', 'LC_ALL=C', command, ...args];
  if (process.getuid?.() !== 0) return ['env', clean.slice(1)];
  return ['setpriv', ['--reuid', String(account.uid), '--regid', String(account.gid), '--clear-groups', '--', ...clean]];
}
