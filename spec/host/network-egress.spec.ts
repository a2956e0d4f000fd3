// N17: what the groups of a guest let it send, enforced by the Linux driver on a host of namespaces; floating addresses included.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrafficRule } from '../../src/drivers/network/driver.ts';
import { labNetwork, networkLab, port, type Guest, type NetworkLab } from '../support/network-lab.ts';
import { eventually } from '../support/waiting.ts';

const anyone = '0.0.0.0/0';
const tcp = (portNumber: number, ...cidrs: string[]): TrafficRule => ({ protocol: 'tcp', fromPort: portNumber, toPort: portNumber, cidrs });
const ping = (...cidrs: string[]): TrafficRule => ({ protocol: 'icmp', fromPort: 8, toPort: -1, cidrs });
const all = (...cidrs: string[]): TrafficRule => ({ protocol: '-1', fromPort: -1, toPort: -1, cidrs });
const floating = '192.0.2.50';

let lab: NetworkLab;
let one: Guest;
let two: Guest;
let three: Guest;

beforeAll(async () => {
  lab = await networkLab('egress');
  await lab.outside();
  await lab.driver.ensureNetwork(labNetwork, []);
  [one, two, three] = [await lab.guest(1), await lab.guest(2), await lab.guest(3)];
  await lab.driver.ensureNetwork(labNetwork, [one, two, three].map(({ mac, address, instanceId }) => ({ mac, address, hostname: instanceId })));
  await Promise.all([one, two, three].map((guest) => guest.configure()));
  for (const guest of [two, three]) for (const number of ['22', '80']) lab.start(guest.name, 'busybox', 'nc', '-ll', '-p', number, '-e', 'cat');
});
afterAll(() => lab.down());

/** Everybody lets in everything; guest three is reached by a floating address, too. */
const sends = (...egress: TrafficRule[]): Promise<void> => lab.driver.applyFirewall({
  ...lab.firewall([{ ...port(one, [all(anyone)]), egress }, port(two, [all(anyone)]), port(three, [all(anyone)])]),
  floating: [{ address: floating, fixed: three.address, bridge: labNetwork.bridge }],
});

const seen = async () => ({
  two22: await one.reaches(two.address, 22), two80: await one.reaches(two.address, 80), three22: await one.reaches(three.address, 22),
  ping: await one.pings(three.address), floating: await one.reaches(floating, 22),
});

describe('N17 what the groups of a guest let it send', () => {
  it('is all by default, nothing without a rule, and what rules say, by protocol, port and receiver', async () => {
    await sends(all(anyone));
    await eventually(async () => Object.values(await seen()).every(Boolean));
    await sends(tcp(22, `${two.address}/32`), ping(anyone));
    expect(await seen()).toEqual({ two22: true, two80: false, three22: false, ping: true, floating: false });
    // Where it was sent to counts, not who answers there.
    await sends(tcp(22, `${floating}/32`));
    expect(await seen()).toEqual({ two22: false, two80: false, three22: false, ping: false, floating: true });
    await sends();
    expect(Object.values(await seen()).some(Boolean)).toBe(false);
  });

  it('does not keep it from answering, nor from what its gateway serves', async () => {
    await sends();
    expect(await two.pings(one.address)).toBe(true);
    expect(await one.pings(labNetwork.gateway)).toBe(true);
    expect(await one.lease()).toContain(`ip=${one.address}`);
  });
});
