// The network namespace of a project's router. A process of its own that does nothing holds it, known by its arguments as the DHCP servers are: so
// it outlives the process that made it, whatever mount namespace that one was in, and the next one adopts it. On an ordinary machine it also has
// a name for `ip netns exec`, by which it is found again should its holder be killed.
import { DriverError, messageOf } from '../../../lib/errors.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';
import { argumentsOf, endProcess, findProcesses } from '../../../lib/processes.ts';
import { writeSwitch } from './uplink.ts';

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,120}$/;

/** Names become arguments and paths. */
export function checkNamespace(name: string): string {
  if (!namePattern.test(name)) throw new DriverError('failed', `not a name of a network namespace: ${JSON.stringify(name).slice(0, 140)}`);
  return name;
}

const mark = 'novact-router';
/** Waits for ever, and has the name among its arguments. */
const holding = ['perl', '-e', 'sleep 86400 while 1', mark];

const isHolder = (args: readonly string[], name: string): boolean => args[0] === 'perl' && args.at(-2) === mark && args.at(-1) === name;

/** Where holders were found. */
const known = new Map<string, number>();

async function holderOf(name: string): Promise<number | undefined> {
  const before = known.get(name);
  if (before !== undefined && isHolder(await argumentsOf(before), name)) return before;
  const [found] = await findProcesses((args) => isHolder(args, name));
  if (found === undefined) known.delete(name);
  else known.set(name, found.pid);
  return found?.pid;
}

/** What `nsenter --net` takes. Undefined: there is no such namespace. */
export async function namespacePath(name: string): Promise<string | undefined> {
  const pid = await holderOf(checkNamespace(name));
  return pid === undefined ? undefined : `/proc/${pid}/ns/net`;
}

export interface Namespaces {
  /** Returns whether it had to be made. */
  ensure(name: string): Promise<{ created: boolean }>;
  exists(name: string): Promise<boolean>;
  /** No error if there is none. What listens in it keeps it alive until it ends. */
  remove(name: string): Promise<void>;
  /** Runs commands inside. */
  inside(name: string): Run;
  /** As `ip link … netns` takes it. */
  linkTarget(name: string): Promise<string>;
}

const switches: readonly (readonly [string, string])[] = [
  ['ipv4/ip_forward', '1'],
  ['ipv4/conf/all/send_redirects', '0'],
  ['ipv4/conf/default/send_redirects', '0'],
  // Guests have no IPv6 here; nothing must answer them by a link-local address that no rule thinks of.
  ['ipv6/conf/all/disable_ipv6', '1'],
  ['ipv6/conf/default/disable_ipv6', '1'],
];

const startWithinMs = 10_000;
const pauseMs = 20;

/** `machine`: runs commands of this machine, not in the namespace that the host may live in. */
export function createNamespaces({ machine, clock, log }: { readonly machine: Run; readonly clock: Clock; readonly log: Log }): Namespaces {
  async function pathOf(name: string): Promise<string> {
    const path = await namespacePath(name);
    if (path === undefined) throw new DriverError('notFound', `the network namespace ${name} is gone`);
    return path;
  }
  const inside = (name: string): Run => async (command, args, options) =>
    machine('nsenter', [`--net=${await pathOf(name)}`, command, ...args], options);

  async function hold(name: string, enter: readonly string[]): Promise<void> {
    await machine('sh', ['-c', 'exec setsid --fork "$@" </dev/null >/dev/null 2>&1', 'sh', ...enter, ...holding, checkNamespace(name)]);
    const deadline = clock.now() + startWithinMs;
    while ((await holderOf(name)) === undefined) {
      if (clock.now() > deadline) throw new DriverError('timeout', `the network namespace ${name} does not come about; try: unshare --net true`);
      await clock.sleep(pauseMs);
    }
  }
  return {
    inside,
    exists: async (name) => (await namespacePath(name)) !== undefined,
    linkTarget: async (name) => String((await holderOf(checkNamespace(name))) ?? ''),
    async ensure(name) {
      if ((await namespacePath(name)) !== undefined) return { created: false };
      const isNamed = (await machine('ip', ['netns', 'exec', checkNamespace(name), 'true'], { okCodes: [0, 1, 255] })).code === 0;
      if (isNamed) {
        await hold(name, ['ip', 'netns', 'exec', name]);
        return { created: false };
      }
      await machine('ip', ['netns', 'delete', name], { okCodes: [0, 1, 255] });
      await hold(name, ['unshare', '--net']);
      await machine('ip', ['netns', 'attach', name, String(await holderOf(name))]).catch((error: unknown) => {
        log.debug({ namespace: name, error: messageOf(error) }, 'a network namespace has no name for ip netns');
      });
      for (const [key, value] of switches) await writeSwitch(inside(name), `/proc/sys/net/${key}`, value);
      await inside(name)('ip', ['link', 'set', 'dev', 'lo', 'up']);
      return { created: true };
    },
    async remove(name) {
      await machine('ip', ['netns', 'delete', checkNamespace(name)], { okCodes: [0, 1, 255] });
      for (const holder of await findProcesses((args) => isHolder(args, name))) await endProcess(holder, clock);
      known.delete(name);
    },
  };
}
