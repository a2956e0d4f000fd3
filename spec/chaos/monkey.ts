// What happens to the parts: one thing after another, at moments and to victims that a seed decides. Whatever is killed is started again as
// systemd would, soon; whatever is stopped goes on after a while.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { RoleProcess } from '../support/role-process.ts';
import type { Hosts } from '../support/three-hosts.ts';
import type { Seeded } from './seeded.ts';

export interface Deed {
  readonly atMs: number;
  readonly what: string;
}

type Act = (monkey: Monkey) => Promise<string>;

export interface Monkey {
  readonly cloud: Hosts;
  readonly random: Seeded;
  /** How long a part may be frozen. */
  readonly pauseMsMax: number;
}

/** What follows later, such as the start of what was killed; waited for at the end. */
const pending = new Set<Promise<unknown>>();
const troubles: Deed[] = [];
const later = (delayMs: number, act: () => Promise<unknown> | void): void => {
  const failed = (error: unknown) => void troubles.push({ atMs: Math.round(performance.now()), what: `could not be undone: ${String(error)}` });
  const done = pause(delayMs).then(act).catch(failed).finally(() => pending.delete(done));
  pending.add(done);
};

const rolesOf = (cloud: Hosts): RoleProcess[] => cloud.hosts.flatMap((host) => [...host.roles.values()]);
const nameOf = (role: RoleProcess): string => `${role.role}@${role.host}`;
const frozen = new Set<string>();

const acts: readonly (readonly [weight: number, act: Act])[] = [
  [8, async (monkey) => {
    const victim = monkey.random.pick(rolesOf(monkey.cloud));
    await victim.kill9();
    return `killed ${nameOf(victim)}`;
  }],
  [3, async (monkey) => {
    const victim = monkey.random.pick(rolesOf(monkey.cloud));
    const ms = monkey.random.between(500, monkey.pauseMsMax);
    return freeze(nameOf(victim), ms, () => victim.pause(), () => victim.resume());
  }],
  [1, async ({ cloud, random }) => {
    await cloud.shared.redis.kill('SIGKILL');
    later(random.between(100, 3_000), () => cloud.shared.redis.start());
    return 'killed redis-server';
  }],
  [1, async ({ cloud, random }) => freeze('redis-server', random.between(500, 6_000), () => cloud.shared.redis.pause(), () => cloud.shared.redis.resume())],
  [1, async ({ cloud }) => {
    await cloud.shared.redisCommand('FLUSHALL').catch(() => undefined);
    return 'emptied Redis';
  }],
  [1, async ({ cloud, random }) => {
    await cloud.shared.postgres.kill('SIGQUIT');
    later(random.between(100, 3_000), () => cloud.shared.postgres.start());
    return 'shut PostgreSQL down at once';
  }],
  [1, async ({ cloud, random }) => {
    const host = random.pick(cloud.hosts);
    const name = `libvirtd of ${host.name}`;
    // Killed while it is being started, it would stay dead.
    if (frozen.has(name)) return `${name} is dead already`;
    frozen.add(name);
    await host.machine.killLibvirtd();
    later(random.between(100, 2_000), () => host.machine.startLibvirtd().finally(() => frozen.delete(name)));
    return `killed ${name}`;
  }],
  [1, async ({ cloud, random }) => {
    const host = random.pick(cloud.hosts);
    const pid = Number(await readFile(join(host.state, 'networks/novact0/dnsmasq.pid'), 'utf8').catch(() => 0));
    if (pid > 0) kill(pid);
    return `killed dnsmasq of ${host.name}`;
  }],
];

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It was gone already.
  }
}

async function freeze(name: string, ms: number, stop: () => void, go: () => void): Promise<string> {
  if (frozen.has(name)) return `${name} is frozen already`;
  frozen.add(name);
  stop();
  later(ms, () => {
    frozen.delete(name);
    go();
  });
  return `froze ${name} for ${ms} ms`;
}

/** Does one thing after another until the time is over. Resolves when all of it but what a supervisor starts again is undone. */
export async function rage(monkey: Monkey, options: { until: number; everyMs: readonly [number, number] }): Promise<readonly Deed[]> {
  const startedAt = performance.now();
  const deeds: Deed[] = [];
  const urn = acts.flatMap(([weight, act]) => Array.from({ length: weight }, () => act));
  while (performance.now() < options.until) {
    await pause(monkey.random.between(...options.everyMs));
    const act = monkey.random.pick(urn);
    const atMs = Math.round(performance.now() - startedAt);
    deeds.push({ atMs, what: await act(monkey).catch((error: unknown) => `failed: ${String(error)}`) });
  }
  while (pending.size > 0) await Promise.all(pending);
  for (const { machine } of monkey.cloud.hosts) await machine.startLibvirtd();
  return [...deeds, ...troubles.splice(0)];
}

/** As systemd with Restart=always: whatever a role ended of, it is started again a second later, until this is ended, which leaves all running. */
export function superviseRoles(cloud: Hosts): { end(): Promise<void> } {
  let isOver = false;
  const supervise = async (role: RoleProcess): Promise<void> => {
    for (;;) {
      if (role.pid() === undefined) await role.start().catch(() => pause(1_000));
      else if (isOver) return;
      else await Promise.race([role.ended().then(() => pause(1_000)), pause(500)]);
    }
  };
  const supervisors = rolesOf(cloud).map(supervise);
  return {
    async end() {
      isOver = true;
      await Promise.all(supervisors);
    },
  };
}
