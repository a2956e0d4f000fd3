// Chaos with real parts: two or three hosts in namespaces, roles as processes of their own, real PostgreSQL, Redis, libvirtd and dnsmasq, real
// guests; customers live on it while everything is killed. At the end nothing may be lost, doubled or stuck, and nothing be left.
import { expectNoLeftoversOnHosts } from '../support/leftovers.ts';
import { openBoto3, type Boto3 } from '../support/clients.ts';
import { waitFor } from '../support/patience.ts';
import { startHosts, type Hosts } from '../support/three-hosts.ts';
import { customer, newTally, type Tally } from './customers.ts';
import { rage, superviseRoles, type Deed } from './monkey.ts';
import { seeded } from './seeded.ts';

export interface ChaosOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly hosts: number;
  readonly customers: number;
  readonly guests: 'qemu' | 'lxc';
  readonly onProgress: (text: string) => void;
}

export interface ChaosResult {
  readonly tally: Tally;
  readonly deeds: readonly Deed[];
}

/** A host is taken for dead after this; frozen roles are frozen for less and for more. */
const serviceDownSeconds = 10;
const pauseMsMax = 14_000;
/** Reconcilers look every half minute. */
const leftoversMs = 75_000;

export async function chaos(options: ChaosOptions): Promise<ChaosResult> {
  const cloud = await startHosts('chaos', {
    count: options.hosts, guests: options.guests,
    settings: { NOVACT_SERVICE_DOWN_SECONDS: String(serviceDownSeconds), NOVACT_INSTANCES_PER_PROJECT_MAX: '200' },
  });
  const boto3 = openBoto3(cloud);
  const watch = watchForTwins(cloud);
  try {
    const result = await live(cloud, boto3, options);
    result.tally.faults.push(...(await watch.end()));
    await expectNoLeftoversOnHosts(cloud, { timeoutMs: leftoversMs, hadOutages: true }).catch((error: unknown) => result.tally.faults.push(String(error)));
    if (result.tally.faults.length > 0) options.onProgress(cloud.tail());
    return result;
  } finally {
    await watch.end();
    await boto3.close();
    await cloud.down();
  }
}

async function live(cloud: Hosts, boto3: Boto3, options: ChaosOptions): Promise<ChaosResult> {
  const imageId = await waitFor('the ready-made image', { timeoutMs: 60_000 }, async () => {
    const { Images } = await boto3.call<{ Images: { ImageId: string; State: string }[] }>('ec2', 'describe_images', {
      Filters: [{ Name: 'name', Values: ['novact-tiny'] }],
    });
    return Images.find(({ State }) => State === 'available')?.ImageId;
  });
  const tally = newTally();
  const until = performance.now() + options.minutes * 60_000;
  const random = seeded(options.seed);
  const supervision = superviseRoles(cloud);
  const report = setInterval(() => options.onProgress(summary(tally)), 30_000);
  try {
    const customers = Array.from({ length: options.customers }, (_, number) =>
      customer({ boto3, imageId, random: seeded(options.seed * 1_000 + number), tally, until, patienceMs: 120_000 }));
    const deeds = await rage({ cloud, random, pauseMsMax }, { until, everyMs: [500, 3_500] });
    options.onProgress(`the rage is over after ${deeds.length} deeds: ${summary(tally)}`);
    await Promise.all(customers);
    return { tally, deeds };
  } finally {
    clearInterval(report);
    await supervision.end();
  }
}

export function summary(tally: Tally): string {
  const times = tally.launchToRunningMs.toSorted((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return `${tally.launched} launched, ${tally.ran} ran, ${tally.refused} refused with a reason, ${tally.terminated} terminated, `
    + `${tally.callsFailed} of ${tally.calls} calls failed, launch to running p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${tally.faults.length} faults`;
}

/** Looks all the time whether one instance runs on two hosts. A single look may be torn by a move, so the second one decides. */
function watchForTwins(cloud: Hosts): { end(): Promise<string[]> } {
  const faults: string[] = [];
  const end = new AbortController();
  const running = async (): Promise<string[]> => {
    const lists = await Promise.all(cloud.hosts.map(({ machine }) => machine.virsh(cloud.guests, 'list', '--name').catch(() => '')));
    return lists.flatMap((text) => text.split('\n').filter((line) => line.startsWith('i-')));
  };
  const twins = (names: readonly string[]): string[] => names.filter((name, position) => names.indexOf(name) !== position);
  const loop = async (): Promise<void> => {
    while (!end.signal.aborted) {
      await new Promise((resolve) => { setTimeout(resolve, 1_000); });
      const first = twins(await running());
      if (first.length === 0) continue;
      const second = twins(await running());
      faults.push(...first.filter((name) => second.includes(name)).map((name) => `doubled: ${name} runs on two hosts`));
    }
  };
  const done = loop();
  return {
    async end() {
      end.abort();
      await done;
      return [...new Set(faults.splice(0))];
    },
  };
}
