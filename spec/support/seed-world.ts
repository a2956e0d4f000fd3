// The cloud that an acceptance runs on, for all tests of a file, and who uses it.
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { Hosts } from './three-hosts.ts';

export interface SeedOptions {
  /** For the titles. */
  readonly manager: 'vlan' | 'vxlan';
  /** Two hosts that run. */
  start(): Promise<Hosts>;
}

export const slowMs = 600_000;

/** A figure for who reads the output. */
export const tell = (text: string): void => void process.stdout.write(`${text}\n`);

/** Started before the first test and ended after the last one; the answer is what tests ask for it. After a failure, what the roles said is shown. */
export function worldOf<World extends { close(): Promise<void> }>(start: () => Promise<Hosts>, enter: (cloud: Hosts) => Promise<World>): () => World {
  let cloud: Hosts | undefined;
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
