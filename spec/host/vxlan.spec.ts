// Networks of projects over VXLAN, on two hosts in network namespaces: who reaches whom, what a router does, and what is left when it goes.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inGuest, projectLab, serveWord, type LabHost, type ProjectGuest, type ProjectLab, type ProjectNetwork } from '../support/project-lab.ts';

const range = { cidr: '10.0.0.0/24', gateway: '10.0.0.1' };
const red: ProjectNetwork = { ...range, projectId: 'red', routerId: 'vpc-red00000000000000', segment: 5001 };
const blue: ProjectNetwork = { ...range, projectId: 'blue', routerId: 'vpc-blue0000000000000', segment: 5002 };

let lab: ProjectLab;
let left: LabHost;
let right: LabHost;
let guests: ProjectGuest[] = [];
let [redLeft, redRight, blueLeft, blueRight]: (ProjectGuest | undefined)[] = [];
const stops: (() => void)[] = [];

const given = <T>(value: T | undefined): T => {
  if (value === undefined) throw new Error('not there');
  return value;
};
const ensureAll = () => Promise.all(lab.hosts.map((host) => lab.ensure(host, guests)));

beforeAll(async () => {
  lab = await projectLab('nvx', { hosts: 2 });
  [left, right] = [given(lab.hosts[0]), given(lab.hosts[1])];
  await left.driver.probe('vxlan');
  redLeft = await lab.guest(left, red, 10);
  blueLeft = await lab.guest(left, blue, 10);
  redRight = await lab.guest(right, red, 11);
  blueRight = await lab.guest(right, blue, 11);
  guests = [redLeft, blueLeft, redRight, blueRight];
  await ensureAll();
  for (const guest of guests) stops.push(await serveWord(inGuest(guest), `${guest.network.projectId} ${guest.host.name}`, 80));
}, 180_000);
afterAll(async () => {
  for (const stop of stops) stop();
  await lab?.down();
});

describe('two projects with the same range on two hosts', () => {
  it('N3: every guest gets its address, gateway, domain and MTU from the DHCP server of its own host, however closed its groups are', async () => {
    for (const host of lab.hosts) await lab.ensure(host, guests, []);
    for (const guest of guests) {
      const said = await guest.lease();
      expect(said).toContain(`ip=${guest.port.address}\n`);
      expect(said).toContain('router=10.0.0.1\n');
      expect(said).toContain('mtu=1450\n');
    }
    await ensureAll();
  });

  it('N4: guests of one project reach each other across hosts, and never one of the other project', async () => {
    expect(await given(redLeft).hears('10.0.0.11', 80)).toBe('red h2 to 10.0.0.10');
    expect(await given(blueLeft).hears('10.0.0.11', 80)).toBe('blue h2 to 10.0.0.10');
    expect(await given(redRight).hears('10.0.0.10', 80)).toBe('red h1 to 10.0.0.11');
    expect(await given(blueRight).hears('10.0.0.10', 80)).toBe('blue h1 to 10.0.0.11');
  });

  it('the router of a network reaches the guests of its host, as an operator does who enters its namespace', async () => {
    const said = async (host: LabHost, guest: ProjectGuest) =>
      (await host.inRouter(guest.network)('nc', ['-w', '3', guest.port.address, '80'], { okCodes: [0, 1] })).stdout.trim();
    for (const guest of guests) expect(await said(guest.host, guest)).toBe(`${guest.network.projectId} ${guest.host.name} to 10.0.0.1`);
  });

  it('packets of the full MTU pass unfragmented', async () => {
    expect((await given(redLeft).run('ping', ['-c', '1', '-W', '2', '-M', 'do', '-s', '1422', '10.0.0.11'])).code).toBe(0);
  });

  it('N3: names resolve, also those of guests on the other host', async () => {
    const { stdout } = await given(redLeft).run('busybox', ['nslookup', '-type=a', 'i-5001-11.novalocal', '10.0.0.1']);
    expect(stdout).toContain('10.0.0.11');
    const foreign = await given(redLeft).run('busybox', ['nslookup', '-type=a', 'i-5002-11.novalocal', '10.0.0.1'], { okCodes: [0, 1] });
    expect(foreign.code).toBe(1);
  });

  it('N7: the outside sees the host, for guests of either project at the same time', async () => {
    stops.push(await serveWord(['ip', 'netns', 'exec', 'nvx-w'], 'outside', 7000));
    const answers = await Promise.all(guests.map((guest) => guest.hears('198.51.100.254', 7000)));
    expect(answers).toEqual(guests.map((guest) => `outside to ${guest.host.address}`));
  });

  it('a guest reaches nothing of its host, nor of another project by its router', async () => {
    stops.push(await serveWord(['ip', 'netns', 'exec', left.namespace], 'host', 9000));
    expect(await given(redLeft).hears(left.address, 9000)).toBeUndefined();
    const { stdout } = await left.run('ip', ['-j', 'address', 'show']);
    const transits = (JSON.parse(stdout) as { addr_info: { local: string }[] }[]).flatMap((link) => link.addr_info).map((entry) => entry.local)
      .filter((address) => address.startsWith('169.254.64.'));
    expect(transits).toHaveLength(2);
    for (const address of transits) expect(await given(redLeft).hears(address, 9000)).toBeUndefined();
    expect(await given(redLeft).hears('10.0.0.1', 9000)).toBeUndefined();
  });
});
