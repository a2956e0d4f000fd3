// Redis users for every role of every host: the file that Redis reads, and for each host the settings with its passwords. Made before there is
// a Redis, so it needs none; made again for more hosts or fewer, it keeps the passwords that it finds.
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WriteRedisUsers } from '../cli/cloud.ts';
import { SetupError } from '../lib/errors.ts';
import { aclFile, aclUserName, type AclUser } from '../transport/redis-acl.ts';
import { parseRedisUrl } from '../transport/redis-url.ts';

export const writeRedisUsers: WriteRedisUsers = async ({ hosts, url, folder }) => {
  const { username, password } = parseRedisUrl(url);
  if (username !== undefined || password !== undefined) throw new SetupError('the URL has a user or a password already', 'Leave them out: they are made here.');
  const written: string[] = [];
  const users: AclUser[] = [];
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const { host, roles } of hosts) {
    await mkdir(join(folder, host), { recursive: true, mode: 0o700 });
    for (const role of roles) {
      const path = join(folder, host, role === 'all' ? 'novact.env' : `novact-${role}.env`);
      const user: AclUser = { role, host, password: (await passwordIn(path)) ?? randomBytes(24).toString('hex') };
      await writeWhole(path, `NOVACT_REDIS_URL=${url.replace('://', `://${aclUserName(user)}:${user.password}@`)}\n`, 0o600);
      users.push(user);
      written.push(path);
    }
  }
  const path = join(folder, 'users.acl');
  await writeWhole(path, aclFile(users), 0o640);
  return [...written, path];
};

async function passwordIn(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const url = /^NOVACT_REDIS_URL=(.+)$/m.exec(text)?.[1];
  return url === undefined ? undefined : parseRedisUrl(url).password;
}

async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  await writeFile(`${path}.new`, text, { mode });
  await chmod(`${path}.new`, mode);
  await rename(`${path}.new`, path);
}
