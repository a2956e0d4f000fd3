// Every flow of an instance against the generic proof: each step made to fail, killed at, and repeated, in a world of sims over the
// real database and the real network actors.
import { afterAll, beforeAll, describe } from 'vitest';
import { rebootInstance } from '../../src/actors/compute/flows/reboot-instance.ts';
import { runInstance } from '../../src/actors/compute/flows/run-instance.ts';
import { startInstance } from '../../src/actors/compute/flows/start-instance.ts';
import { stopInstance } from '../../src/actors/compute/flows/stop-instance.ts';
import { terminateInstance } from '../../src/actors/compute/flows/terminate-instance.ts';
import { checkFlow } from '../support/flow-check.ts';
import { instanceWorld, placed, running, stopped } from '../support/instance-worlds.ts';
import { createSimCloud, type SimCloud } from '../support/sim-cloud.ts';

let cloud: SimCloud;
beforeAll(async () => {
  cloud = await createSimCloud({ start: false, cores: 1_000, memoryMiB: 2 ** 30 });
});
afterAll(() => cloud.close());

describe('M3: instance.run', () => checkFlow(runInstance, async () => instanceWorld(cloud, await placed(cloud))));
describe('M3: instance.start', () => checkFlow(startInstance, async () => instanceWorld(cloud, await stopped(cloud, 'pending'))));
describe('M3: instance.stop', () => checkFlow(stopInstance, async () => instanceWorld(cloud, await running(cloud, 'stopping')), { undoable: false }));
describe('M3: instance.reboot', () => checkFlow(rebootInstance, async () => instanceWorld(cloud, await running(cloud)), { undoable: false }));
describe('M3: instance.terminate', () =>
  checkFlow(terminateInstance, async () => instanceWorld(cloud, await running(cloud, 'shutting-down')), { undoable: false }));
