// N8: floating addresses of two projects with equal addresses, behind their routers on two hosts: from outside, from each other, on the way out, and on
// the way from a host to the other.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { FloatingAddress } from '../../src/drivers/network/driver.ts';
import type { Run } from '../../src/lib/exec.ts';
import {
  inGuest, outsideAddress, projectLab, serveWord, type LabHost, type ProjectGuest, type ProjectLab, type ProjectNetwork,
} from '../support/project-lab.ts';
import { eventually } from '../support/waiting.ts';

const range = { cidr: '10.0.0.0/24', gateway: '10.0.0.1' };
const red: ProjectNetwork = { ...range, projectId: 'red', routerId: 'vpc-red00000000000000', segment: 5071 };
const blue: ProjectNetwork = { ...range, projectId: 'blue', routerId: 'vpc-blue0000000000000', segment: 5072 };
const [first, second] = ['198.51.100.50', '198.51.100.51'] as const;
const port = 8080;

let lab: ProjectLab;
let red1: ProjectGuest;
let red2: ProjectGuest;
let blue1: ProjectGuest;
const stops: (() => void)[] = [];

beforeAll(async () => {
  lab = await projectLab('frouted', { hosts: 2 });
  const [one, two] = hosts();
  [red1, red2, blue1] = [await lab.guest(one, red, 4), await lab.guest(two, red, 5), await lab.guest(one, blue, 4)];
  const guests = [red1, red2, blue1];
  for (const host of [one, two]) await lab.ensure(host, guests);
  for (const guest of guests) await guest.lease();
  for (const [guest, word] of [[red1, 'red1'], [red2, 'red2'], [blue1, 'blue1']] as const) stops.push(await serveWord(inGuest(guest), word, port));
  stops.push(await serveWord(['ip', 'netns', 'exec', 'frouted-w'], 'outside', port));
}, 180_000);
afterAll(async () => {
  for (const stop of stops) stop();
  await lab.down();
});

function hosts(): [LabHost, LabHost] {
  const [one, two] = lab.hosts;
  if (one === undefined || two === undefined) throw new Error('two hosts are needed');
  return [one, two];
}

/** What the server there says, and as whom it sees the caller; nothing: no connection came about. */
async function ask(run: Run, address: string): Promise<string> {
  const { stdout } = await run('nc', ['-w', '3', address, String(port)], { okCodes: [0, 1], input: '' });
  return stdout.trim();
}
const asked = (run: Run, address: string, answer: string) => eventually(async () => (await ask(run, address)) === answer, `${address} says ${answer}`);

const to = (guest: ProjectGuest, address: string): FloatingAddress => ({ address, fixed: guest.port.address, bridge: guest.port.bridge });
const lead = (host: LabHost, guests: readonly ProjectGuest[], ...floating: FloatingAddress[]): Promise<void> => host.driver.applyFirewall({
  networks: guests.map(({ network }) => host.spec(network)), ports: guests.map((guest) => guest.port), metadataPort: 8775, floating,
});

it('N8: equal private addresses of two projects have public ones of their own, in, out and towards each other', async () => {
  const [one] = hosts();
  await lead(one, [red1, blue1], to(red1, first), to(blue1, second));
  await asked(lab.outside, first, `red1 to ${outsideAddress}`);
  await asked(lab.outside, second, `blue1 to ${outsideAddress}`);
  expect(await ask(red1.run, outsideAddress)).toBe(`outside to ${first}`);
  expect(await ask(blue1.run, outsideAddress)).toBe(`outside to ${second}`);
  expect(await ask(blue1.run, first)).toBe(`red1 to ${second}`);
  expect(await ask(red1.run, first)).toBe(`red1 to ${first}`);
  expect(await ask(red2.run, first)).toBe('red1 to 198.51.100.2');
  expect(await ask(one.run, first)).toContain('red1 to ');
});

it('N8: one that moves to a guest on another host is answered there, and by no one when it leads nowhere', async () => {
  const [one, two] = hosts();
  await lead(one, [red1, blue1], to(red1, first), to(blue1, second));
  await asked(lab.outside, first, `red1 to ${outsideAddress}`);
  await lead(one, [red1, blue1], to(blue1, second));
  await lead(two, [red2], to(red2, first));
  await asked(lab.outside, first, `red2 to ${outsideAddress}`);
  expect(await ask(red2.run, outsideAddress)).toBe(`outside to ${first}`);
  expect(await ask(red1.run, outsideAddress)).toBe('outside to 198.51.100.1');
  await lead(two, [red2]);
  expect(await ask(lab.outside, first)).toBe('');
  await asked(lab.outside, second, `blue1 to ${outsideAddress}`);
});
