// Who may import whom, as data: layers.spec.ts enforces it and docs/reference/layers.md is generated from it.

/** Folder of src → what it may import of ours. `lib/` is a folder, `*` one name; no slash at the end is one file. A folder may import itself. */
export const layers: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  config: ['lib/'],
  messages: ['lib/'],
  // The outbox keeps envelopes: the rows and what is told of them are written in one place, and handlers cannot forget to tell.
  db: ['lib/', 'config/', 'messages/'],
  transport: ['lib/', 'messages/'],
  drivers: ['lib/'],
  auth: ['lib/', 'db/', 'drivers/auth/driver.ts'],
  actors: ['lib/', 'messages/', 'db/', 'drivers/*/driver.ts', 'transport/transport.ts', 'transport/directory.ts'],
  api: ['lib/', 'messages/', 'db/', 'auth/', 'drivers/*/driver.ts', 'transport/transport.ts', 'transport/directory.ts'],
  roles: ['*/'],
  cli: ['lib/', 'config/', 'db/', 'auth/', 'drivers/', 'roles/', 'api/ops/'],
};

/** Single files that may import more than their folder. */
export const exceptions: Readonly<Record<string, readonly string[]>> = {
  'drivers/auth/db.ts': ['db/'], 'drivers/auth/ldap/ldap.ts': ['db/'], 'drivers/auth/ldap/mirror.ts': ['db/'],
};

/** Places where one thing only may be done. Patterns are looked for in code without its comments. */
export const reservations: readonly { readonly what: string; readonly where: string; readonly pattern: RegExp; readonly files: RegExp }[] = [
  { what: 'SQL', where: '`db`', pattern: /from 'drizzle-orm/, files: /^db\// },
  {
    what: 'other programs',
    where: '`lib/exec.ts`; `lib/lock.ts`; long-lived servers in `drivers`; `cli`',
    pattern: /from 'node:child_process'/,
    files: /^(lib\/(exec|lock)\.ts|drivers\/|cli\/)/,
  },
  {
    what: 'the clock and timers',
    where: '`lib/clock.ts`, `lib/exec.ts`',
    pattern: /\bDate\.now\(|\bsetTimeout\(|\bsetInterval\(/,
    files: /^lib\/(clock|exec)\.ts$/,
  },
];

/** Whether a file of src (`actors/compute/actor.ts`) may import another. */
export function mayImport(name: string, target: string): boolean {
  const layer = name.split('/')[0] ?? '';
  if (target.split('/')[0] === layer) return true;
  return [...(layers[layer] ?? []), ...(exceptions[name] ?? [])].some((rule) => matches(rule, target));
}

function matches(rule: string, target: string): boolean {
  const wanted = rule.split('/');
  const parts = target.split('/');
  if (rule.endsWith('/')) wanted.pop();
  else if (wanted.length !== parts.length) return false;
  return wanted.every((part, position) => part === '*' || part === parts[position]);
}
