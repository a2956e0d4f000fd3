// Who the server runs as: PostgreSQL refuses to be root, so root hands it to the distribution's `postgres` account.
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import type { Account } from '../../lib/server-account.ts';

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
