// What goes wrong in a simulation: drawn from the seed, one fault after another, until it is enough.
import { sleepOn } from '../support/sim-time.ts';
import type { Chance } from '../support/sim-chance.ts';
import type { SimCloud } from './cloud.ts';

type Fault = (cloud: SimCloud, chance: Chance) => Promise<void> | void;

const seconds = (chance: Chance, from: number, to: number): number => chance.between(from * 1_000, to * 1_000);

const alive = (cloud: SimCloud, chance: Chance, pattern = /./) =>
  chance.pick(cloud.services.filter(({ name, process }) => process?.state === 'alive' && pattern.test(name)));

const faults: readonly (readonly [weight: number, fault: Fault])[] = [
  [6, (cloud, chance) => {
    const service = alive(cloud, chance);
    if (service !== undefined) cloud.kill(service, seconds(chance, 1, 40));
  }],
  [8, (cloud, chance) => {
    const process = alive(cloud, chance)?.process;
    const effects = chance.between(1, 60);
    if (process !== undefined) cloud.say(`${process.name} dies after ${effects} more effects`);
    process?.dieAfter(effects);
  }],
  [4, async (cloud, chance) => {
    const process = alive(cloud, chance)?.process;
    if (process === undefined) return;
    const frozenMs = chance.hits(0.5) ? 90_000 : seconds(chance, 2, 60);
    cloud.say(`freeze ${process.name} for ${frozenMs} ms`);
    process.freeze();
    cloud.time.after(frozenMs, () => {
      cloud.say(`thaw ${process.name}`);
      process.thaw();
    });
  }],
  [2, async (cloud, chance) => {
    cloud.say('the database goes away');
    cloud.storm.isDatabaseAway = true;
    await sleepOn(cloud.time, seconds(chance, 1, 30));
    cloud.storm.isDatabaseAway = false;
    cloud.say('the database is back');
  }],
  [2, async (cloud, chance) => {
    cloud.say('the mailboxes go away');
    cloud.storm.areMailboxesAway = true;
    cloud.board.setAway(true);
    await sleepOn(cloud.time, seconds(chance, 1, 30));
    cloud.storm.areMailboxesAway = false;
    cloud.board.setAway(false);
    cloud.say('the mailboxes are back');
  }],
  [2, (cloud) => {
    cloud.say('the mailboxes are emptied');
    cloud.medium.empty();
    cloud.board.clear();
  }],
  [1, (cloud, chance) => {
    const machine = chance.pick(cloud.machines);
    if (machine !== undefined) cloud.powerOff(machine, seconds(chance, 10, 100));
  }],
  [3, (cloud, chance) => {
    const machine = chance.pick(cloud.machines);
    const id = chance.pick([...(machine?.world.domains ?? [])].filter(([, domain]) => domain.state === 'running').map(([name]) => name));
    if (machine === undefined || id === undefined) return;
    const how = chance.pick(['powerOff', 'crash', 'destroy'] as const) ?? 'crash';
    cloud.say(`guest ${id} on ${machine.name}: ${how}`);
    machine.world[how](id);
  }],
  [1, async (cloud, chance) => {
    const machine = chance.pick(cloud.machines);
    if (machine?.world.reachable !== true) return;
    cloud.say(`the hypervisor of ${machine.name} is not reachable`);
    machine.world.disconnect();
    await sleepOn(cloud.time, seconds(chance, 1, 60));
    machine.world.reconnect();
    cloud.say(`the hypervisor of ${machine.name} is back`);
  }],
];

const weights = faults.reduce((sum, [weight]) => sum + weight, 0);

function draw(chance: Chance): Fault {
  let left = chance.next() * weights;
  for (const [weight, fault] of faults) {
    left -= weight;
    if (left < 0) return fault;
  }
  return () => undefined;
}

/** Faults until then; afterwards all that goes wrong by rate has ceased, and what was begun ends by itself. */
export async function misbehave(cloud: SimCloud, untilMs: number): Promise<void> {
  const chance = cloud.chance.fork('faults');
  const { storm, time } = cloud;
  const pauseMsMax = chance.pick([4_000, 15_000, 60_000]) ?? 0;
  storm.loss = chance.pick([0, 0.02, 0.3]) ?? 0;
  storm.doubling = chance.pick([0, 0.05, 0.3]) ?? 0;
  storm.delay = chance.pick([0, 0.1, 0.5]) ?? 0;
  storm.driverFaults = chance.pick([0, 0.01, 0.1]) ?? 0;
  cloud.say(`weather: ${JSON.stringify(storm)}`);
  while (time.elapsedMs < untilMs) {
    await sleepOn(time, chance.between(500, pauseMsMax));
    await draw(chance)(cloud, chance);
  }
  Object.assign(storm, { loss: 0, doubling: 0, delay: 0, driverFaults: 0 });
  for (const { process } of cloud.services) process?.dieAfter(Infinity);
  cloud.say('the faults cease');
}
