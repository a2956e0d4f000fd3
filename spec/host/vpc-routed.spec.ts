// Two VPCs with the same range on two hosts: subnets of one reach each other by its router, wherever they are, and the way out is what its routes say.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FloatingAddress } from '../../src/drivers/network/driver.ts';
import {
  inGuest, outsideAddress, projectLab, serveWord, type LabHost, type ProjectGuest, type ProjectLab, type ProjectNetwork,
} from '../support/project-lab.ts';
import { eventually } from '../support/waiting.ts';

const red = { projectId: 'red', routerId: 'vpc-red00000000000000' };
const blue = { projectId: 'blue', routerId: 'vpc-blue0000000000000' };
const first = { cidr: '10.0.1.0/24', gateway: '10.0.1.1' };
const second = { cidr: '10.0.2.0/24', gateway: '10.0.2.1' };
const red1: ProjectNetwork = { ...red, ...first, segment: 5081 };
const red2: ProjectNetwork = { ...red, ...second, segment: 5082 };
const blue1: ProjectNetwork = { ...blue, ...first, segment: 5083 };
const blue2: ProjectNetwork = { ...blue, ...second, segment: 5084 };
const port = 8080;
const [publicRed, publicBlue] = ['198.51.100.60', '198.51.100.61'] as const;

let lab: ProjectLab;
let guests: ProjectGuest[] = [];
const stops: (() => void)[] = [];

const hostAt = (index: number): LabHost => lab.hosts[index] ?? (() => { throw new Error('two hosts are needed'); })();
const guestOf = (network: ProjectNetwork, index = 0): ProjectGuest =>
  guests.find((guest) => guest.network === network && guest.host === hostAt(index)) ?? (() => { throw new Error('no such guest'); })();
const floating = (address: string, guest: ProjectGuest): FloatingAddress => ({ address, fixed: guest.port.address, bridge: guest.port.bridge });
/** The rules of both hosts, as the ways of the networks are now. */
const applyRules = (...led: readonly FloatingAddress[]): Promise<unknown> => Promise.all(lab.hosts.map((host) =>
  lab.applyRules(host, guests, undefined, led.filter(({ bridge, fixed }) =>
    guests.some((guest) => guest.host === host && guest.port.bridge === bridge && guest.port.address === fixed)))));

beforeAll(async () => {
  lab = await projectLab('nvpc', { hosts: 2 });
  guests = [
    await lab.guest(hostAt(0), red1, 10), await lab.guest(hostAt(0), red2, 10), await lab.guest(hostAt(1), red2, 11),
    await lab.guest(hostAt(0), blue1, 10), await lab.guest(hostAt(1), blue2, 11),
  ];
  for (const host of lab.hosts) await lab.ensure(host, guests);
  for (const guest of guests) await guest.lease();
  for (const guest of guests) stops.push(await serveWord(inGuest(guest), `${guest.network.projectId} ${guest.host.name}`, port));
  stops.push(await serveWord(['ip', 'netns', 'exec', 'nvpc-w'], 'outside', port));
}, 180_000);
afterAll(async () => {
  for (const stop of stops) stop();
  await lab?.down();
});

describe('subnets of a VPC', () => {
  it('N4: reach each other on one host and from host to host, seen as who they are', async () => {
    expect(await guestOf(red1).hears('10.0.2.10', port)).toBe('red h1 to 10.0.1.10');
    expect(await guestOf(red1).hears('10.0.2.11', port)).toBe('red h2 to 10.0.1.10');
    expect(await guestOf(red2, 1).hears('10.0.1.10', port)).toBe('red h1 to 10.0.2.11');
  });

  it('N4: are never those of another VPC with the same ranges', async () => {
    expect(await guestOf(blue1).hears('10.0.2.11', port)).toBe('blue h2 to 10.0.1.10');
    expect(await guestOf(blue1).hears('10.0.2.10', port)).toBeUndefined();
    expect(await guestOf(blue2, 1).hears('10.0.1.10', port)).toBe('blue h1 to 10.0.2.11');
  });
});

describe('the way out of a VPC', () => {
  it('N7: is there for the subnet whose route says so, and for no other of the same VPC', async () => {
    red2.ways = [];
    await applyRules();
    expect(await guestOf(red1).hears(outsideAddress, port)).toBe('outside to 198.51.100.1');
    expect(await guestOf(red2).hears(outsideAddress, port)).toBeUndefined();
    expect(await guestOf(red2, 1).hears(outsideAddress, port)).toBeUndefined();
    expect(await guestOf(red2, 1).hears('10.0.1.10', port)).toBe('red h1 to 10.0.2.11');
    expect(await guestOf(blue2, 1).hears(outsideAddress, port)).toBe('outside to 198.51.100.2');
    red2.ways = ['198.51.100.128/25'];
    await applyRules();
    expect(await guestOf(red2).hears(outsideAddress, port)).toBe('outside to 198.51.100.1');
    red2.ways = ['198.51.100.0/25'];
    await applyRules();
    expect(await guestOf(red2).hears(outsideAddress, port)).toBeUndefined();
    delete red2.ways;
    await applyRules();
    expect(await guestOf(red2).hears(outsideAddress, port)).toBe('outside to 198.51.100.1');
  });

  it('N7: ends with the route, for connections that are open as well', async () => {
    const pings = guestOf(red1).run('ping', ['-i', '0.2', '-c', '40', '-W', '1', outsideAddress], { okCodes: [0, 1] });
    await eventually(() => guestOf(red1).pings(outsideAddress));
    red1.ways = [];
    await applyRules();
    expect(await guestOf(red1).pings(outsideAddress)).toBe(false);
    const { stdout } = await pings;
    const received = Number(/(\d+) received/.exec(stdout)?.[1]);
    expect(received).toBeGreaterThan(0);
    expect(received).toBeLessThan(40);
    delete red1.ways;
  });

  it('N8: is that of floating addresses too: without it they lead nowhere, from outside and from a neighbour', async () => {
    const led = [floating(publicRed, guestOf(red1)), floating(publicBlue, guestOf(blue1))];
    const fromOutside = async (address: string) => (await lab.outside('nc', ['-w', '3', address, String(port)], { okCodes: [0, 1], input: '' })).stdout.trim();
    await applyRules(...led);
    await eventually(async () => (await fromOutside(publicRed)) === `red h1 to ${outsideAddress}`);
    expect(await guestOf(red2).hears(publicRed, port)).toContain('red h1 to ');
    red1.ways = [];
    await applyRules(...led);
    expect(await fromOutside(publicRed)).toBe('');
    expect(await fromOutside(publicBlue)).toBe(`blue h1 to ${outsideAddress}`);
    delete red1.ways;
    red2.ways = [];
    await applyRules(...led);
    expect(await guestOf(red2).hears(publicRed, port)).toBeUndefined();
    expect(await fromOutside(publicRed)).toBe(`red h1 to ${outsideAddress}`);
    delete red2.ways;
  });
});
