// Where the unix socket of a server lies: the folder that the operator chose may be too long for one.
import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** A unix socket's address holds 107 bytes; `/.s.PGSQL.5432`, the longest name, is 14 of them. */
const socketDirectoryBytesMax = 107 - 14;

/** In the server's own folder where the address fits, else in a short place of which only a digest is the name. */
export function socketDirectoryOf(directory: string): string {
  const inside = join(directory, 'socket');
  if (Buffer.byteLength(inside) <= socketDirectoryBytesMax) return inside;
  const digest = createHash('sha256').update(directory).digest('hex').slice(0, 16);
  return process.getuid?.() === 0 ? `/run/novact/${digest}` : `/tmp/novact-${process.getuid?.() ?? 'user'}-${digest}`;
}
