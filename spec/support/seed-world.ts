// The cloud that an acceptance runs on, for all tests of a file, and who uses it.
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { TestHost } from './host.ts';
import type { Host, Hosts } from './three-hosts.ts';

/** What an acceptance asks of a host: a namespace of this machine (three-hosts.ts). */
export interface SeedHost extends Pick<Host, 'name' | 'roles' | 'inRouter' | 'servers' | 'killServers' | 'pullPlug' | 'plugIn'> {
  readonly machine: Pick<TestHost, 'run' | 'killLibvirtd' | 'startLibvirtd'>;
}

/** And of their cloud. */
export interface SeedCloud extends Pick<Hosts, 'host' | 'folder' | 'state' | 'environment' | 'run' | 'outside' | 'novact' | 'openDatabase' | 'tail' | 'down'> {
  readonly hosts: readonly SeedHost[];
  named(name: string): SeedHost;
}

export interface SeedOptions<Cloud extends SeedCloud> {
  /** For the titles. */
  readonly manager: 'vlan' | 'vxlan';
  /** Two hosts that run. */
  start(): Promise<Cloud>;
}

export const slowMs = 600_000;

/** A figure for who reads the output. */
export const tell = (text: string): void => void process.stdout.write(`${text}\n`);

/** Started before the first test and ended after the last one; the answer is what tests ask for it. After a failure, what the roles said is shown. */
export function worldOf<Cloud extends SeedCloud, World extends { close(): Promise<void> }>(
  start: () => Promise<Cloud>, enter: (cloud: Cloud) => Promise<World>,
): () => World {
  let cloud: Cloud | undefined;
  let world: World | undefined;
  beforeAll(async () => {
    cloud = await start();
    world = await enter(cloud);
  }, slowMs);
  afterAll(async () => {
    await world?.close();
    await cloud?.down();
  }, slowMs);
  afterEach(({ task }) => {
    if (task.result?.state === 'fail') process.stderr.write(`${cloud?.tail() ?? 'there is no cloud'}\n`);
  });
  return () => {
    if (world === undefined) throw new Error('the cloud did not start');
    return world;
  };
}
