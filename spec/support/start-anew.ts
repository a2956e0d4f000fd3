// A cloud of many processes that a spec starts: over what an earlier run left of it, and whole or not at all.
import type { RoleProcess } from './role-process.ts';

interface Startable {
  start(): Promise<void>;
  tail(): string;
  down(): Promise<void>;
}

/** Rejects, when it does not start, with what its parts said; then nothing of it is left. */
export async function startAnew<Cloud extends Startable>(cloud: Cloud): Promise<Cloud> {
  await cloud.down();
  try {
    await cloud.start();
    return cloud;
  } catch (error) {
    const said = cloud.tail();
    await cloud.down();
    throw new Error(`the hosts did not start\n${said}`, { cause: error });
  }
}

const linesMax = 25;

/** The last lines of every role of these hosts, for failures. */
export function lastLines(hosts: readonly { readonly roles: ReadonlyMap<string, RoleProcess> }[]): string {
  const all = hosts.flatMap((host) => [...host.roles.values()]);
  return all.map((role) => `--- ${role.role}@${role.host}\n${role.output().split('\n').slice(-linesMax).join('\n')}`).join('\n');
}
