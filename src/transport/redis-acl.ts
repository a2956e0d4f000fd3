// Who may do what in Redis: one user for each role of each host, as lines of an aclfile. A role reads its own mailboxes and its own answers,
// appends to those of others, and may neither read nor empty anything else. The lines carry hashes of the passwords, not the passwords.
import { createHash } from 'node:crypto';
import { SetupError } from '../lib/errors.ts';
import type { Role } from '../messages/protocol.ts';
import { mailboxesKey } from './redis-keys.ts';

export interface AclUser {
  /** `all`: one process with all roles, or a person who looks at the mailboxes. */
  readonly role: Role | 'all';
  readonly host: string;
  readonly password: string;
}

/** `novact-compute-h1`: what stands before the colon in `NOVACT_REDIS_URL`. */
export const aclUserName = ({ role, host }: Pick<AclUser, 'role' | 'host'>): string => `novact-${role}-${host}`;

/** The whole file. The default user is off: nobody gets in without a name. */
export function aclFile(users: readonly AclUser[]): string {
  return [['user default off', 'resetkeys', 'resetchannels', '-@all'], ...users.map(lineOf)].map((words) => `${words.join(' ')}\n`).join('');
}

/** CLIENT SETINFO is unknown to Redis 7.0 and would make it refuse the file. */
const connection = [
  '+hello', '+auth', '+select', '+ping', '+quit', '+time', '+info', '+client|id', '+client|setname', '+client|unblock', '+client|tracking',
];
const streams = [
  '+xreadgroup', '+xread', '+xgroup|create', '+xgroup|delconsumer', '+xack', '+xdel', '+xadd', '+xlen', '+xclaim', '+xautoclaim', '+xpending',
  '+xinfo|consumers', '+xrange', '+xrevrange', '+xtrim',
];
const texts = ['+set', '+get', '+sadd', '+smembers', '+del', '+pexpire', '+eval', '+evalsha'];
/** The directory: every host announces itself and sees the others. */
const directory = '(+eval +evalsha +@read +@write +@hash +@sortedset +@string -@dangerous ~nv:{dir:*)';
/** Other mailboxes: one may append within their limit, see how full they are, and answer askers. Scripts are checked command by command. */
const others = [
  '(+eval +evalsha +xadd +xlen +get ~nv:{*}:mb ~nv:{*}:max)', '(+xlen +xpending %R~nv:{*}:mb)', '(+xadd ~nv:{p:*}:re)', '(+xrevrange %R~nv:{*}:dlq)',
];
/** The roles whose ops server requeues and drops dead letters. */
const letterKeepers: ReadonlySet<string> = new Set<Role>(['api', 'scheduler']);

function lineOf(user: AclUser): readonly string[] {
  const { role, host, password } = user;
  if (!/^[A-Za-z0-9._-]+$/.test(host)) throw new SetupError(`the host name ${host} cannot be part of a pattern`, 'Use letters, digits, dots and dashes.');
  if (password.length < 16) throw new SetupError(`the password of ${aclUserName(user)} is too short`, 'Use at least 16 characters: openssl rand -hex 24.');
  const hash = createHash('sha256').update(password).digest('hex');
  const head = ['user', aclUserName(user), 'on', `#${hash}`, 'resetkeys', 'resetchannels', '-@all', ...connection];
  if (role === 'all') return [...head, ...streams, ...texts, '~nv:*', directory];
  const own = [`~nv:{${role}}:*`, `~nv:{${role}@${host}}:*`, `~nv:{p:${role}@${host}#*}:*`, `~${mailboxesKey}`];
  return [...head, ...streams, ...texts, ...own, directory, ...others, ...(letterKeepers.has(role) ? ['(+xdel ~nv:{*}:dlq)'] : [])];
}
