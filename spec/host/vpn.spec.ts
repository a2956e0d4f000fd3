// A VPN into a project's network, whole: certificates by openssl, a server of OpenVPN on a host in a namespace, real clients outside of it, and a
// guest behind the host's bridge with its security group. Root only.
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endpointOf, ensureVpns, type VpnHost } from '../../src/actors/vpn/ensure-vpns.ts';
import { AuthManager } from '../../src/auth/manager.ts';
import { createNetwork, sharedNetworkName } from '../../src/db/networks.ts';
import { certificatesOf, deleteVpn, vpnsOfHost, type Vpn } from '../../src/db/vpns.ts';
import { authDrivers } from '../../src/drivers/auth/index.ts';
import { vpnDrivers } from '../../src/drivers/vpn/index.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import { findProcesses } from '../../src/lib/processes.ts';
import type { ManageDeps } from '../../src/roles/manage/deps.ts';
import { createVpn, giveCredentials, revokeCredentials, vpnOf } from '../../src/roles/manage/vpn-life.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { labNetwork, networkLab, port, type Guest, type NetworkLab } from '../support/network-lab.ts';
import { eventually } from '../support/waiting.ts';

const name = 'vpnspec';
const root = createRun({ log: silentLog });
let lab: NetworkLab;
let database: TestDatabase;
let deps: ManageDeps;
let host: VpnHost;
let folder: string;
let guest: Guest;
let outside: Run;

/** As another start of the role would have it: nothing is remembered of the one before. */
const newStart = (): VpnHost => ({
  name: 'h1', db: database.db, sealer: deps.sealer, namespaceOf: (id) => id,
  driver: vpnDrivers.openvpn.create({ run: lab.run, clock: systemClock, stateDirectory: join(folder, 'vpn') }),
});
const servers = async () => (await findProcesses((args) => args.some((each) => each.startsWith(join(folder, 'vpn'))))).map(({ pid }) => pid);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'novact-vpn-spec-'));
  database = await createTestDatabase();
  const { db } = database;
  const sealer = createSealer(randomBytes(32));
  const auth = new AuthManager({ driver: authDrivers.db({ db, clock: systemClock }), sealer });
  await auth.createUser({ name: 'ann' });
  await auth.createProject({ name: 'ann', manager: 'ann' });
  const { cidr, bridge, mtu } = labNetwork;
  await createNetwork(db, { name: sharedNetworkName, manager: 'flat-dhcp', cidr, bridge, mtu }, new Date());
  const unheard = { tell: () => Promise.reject(new Error('nobody hears')) } as unknown as ManageDeps['transport'];
  deps = { db, sealer, run: root, clock: systemClock, log: silentLog, transport: unheard, settings: { zone: 'nova', host: 'h1' } } as unknown as ManageDeps;
  lab = await networkLab(name);
  await lab.driver.ensureNetwork(labNetwork, [], []);
  guest = await lab.guest(1);
  await guest.configure();
  outside = await lab.outside();
  const open = [{ protocol: 'icmp' as const, fromPort: -1, toPort: -1, cidrs: ['172.27.0.0/24'] }];
  await lab.driver.applyFirewall(lab.firewall([port(guest, open)]));
  host = newStart();
});
afterAll(async () => {
  for (const pid of await servers()) process.kill(pid, 'SIGKILL');
  await lab?.down();
  await database?.close();
  await rm(folder, { recursive: true, force: true });
});

const vpn = (): Promise<Vpn> => vpnOf(deps, 'ann');
const pings = async (address: string): Promise<boolean> => (await outside('ping', ['-c', '1', '-W', '2', address], { okCodes: [0, 1, 2] })).code === 0;
/** The client is done before its server has taken it in. */
const reaches = (address: string): Promise<void> => eventually(() => pings(address), `${address} answers through the tunnel`);

async function credentials(of: string): Promise<string> {
  const file = join(folder, `${of}.ovpn`);
  await writeFile(file, await giveCredentials(deps, await vpn(), { name: of, days: 30 }), { mode: 0o600 });
  return file;
}

async function connect(file: string) {
  const client = lab.start(`${name}-out`, 'openvpn', '--config', file);
  await client.saw('Initialization Sequence Completed');
  return client;
}

/** Whether a handshake comes about at all. */
async function opens(file: string): Promise<boolean> {
  const args = ['--config', file, '--hand-window', '8', '--connect-retry-max', '1', '--connect-timeout', '8', '--single-session'];
  const { stdout } = await outside('timeout', ['20', 'openvpn', ...args], { okCodes: [0, 1, 124], timeoutMs: 60_000 });
  return stdout.includes('Initialization Sequence Completed');
}

describe('A12: a VPN into a project', () => {
  it('A10: has an authority below the cloud\'s, whose certificates and lists openssl takes', async () => {
    await createVpn(deps, { project: 'ann', host: 'h1', address: '192.0.2.1', port: 1194 });
    const made = await vpn();
    const [intermediate = '', top = ''] = made.authority.match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----\n/g) ?? [];
    const file = async (of: string, text: string): Promise<string> => {
      await writeFile(join(folder, of), text);
      return join(folder, of);
    };
    const [above, below, leaf, lists] = [
      await file('root.pem', top), await file('below.pem', intermediate), await file('leaf.pem', made.certificate), await file('lists.pem', made.revocations),
    ];
    const args = ['-CAfile', above, '-untrusted', below, '-CRLfile', lists, '-crl_check_all', '-purpose', 'sslserver', leaf];
    expect((await root('openssl', ['verify', ...args])).stdout).toMatch(/: OK/);
    expect((await root('openssl', ['verify', ...args.map((arg) => (arg === 'sslserver' ? 'sslclient' : arg))], { okCodes: [0, 2] })).code).toBe(2);
    expect((await root('openssl', ['crl', '-in', lists, '-noout', '-text'])).stdout).toContain('No Revoked Certificates');
  });

  it('N10: is reached from outside at the host\'s address, leads to a guest that lets it, and nowhere else', async () => {
    await ensureVpns(host);
    const client = await connect(await credentials('joe'));
    await reaches(guest.address);
    const { stdout } = await outside('ip', ['-j', 'route', 'get', guest.address]);
    expect(JSON.parse(stdout)).toMatchObject([{ dev: expect.stringMatching(/^tun/), prefsrc: expect.stringMatching(/^172\.27\.0\./) }]);
    // The host itself, by each address that the tunnel could lead to.
    for (const address of ['172.27.0.1', labNetwork.gateway]) expect(await pings(address), address).toBe(false);
    // A way to other networks is not made by asking for it.
    await lab.run('ip', ['address', 'add', '198.51.100.1/32', 'dev', 'lo']);
    await outside('ip', ['route', 'add', '198.51.100.1', 'dev', 'tun0']);
    expect(await pings('198.51.100.1')).toBe(false);
    expect(await host.driver.connected((await vpn()).id).then((names) => names.filter((each) => each !== 'joe'))).toEqual([]);
    client.stop();
  });

  it('goes on when the role starts anew, and is there again when its server was killed', async () => {
    const [first] = await servers();
    await ensureVpns(newStart());
    expect(await servers()).toEqual([first]);
    process.kill(first ?? 0, 'SIGKILL');
    await expect.poll(servers, { timeout: 30_000 }).toEqual([]);
    await ensureVpns(newStart());
    expect(await servers()).toHaveLength(1);
    const again = await connect(join(folder, 'joe.ovpn'));
    await reaches(guest.address);
    again.stop();
  });

  it('A11: cuts off whose certificate is revoked, and lets in nobody by it, while others go on', async () => {
    const [joe, eve] = [await connect(join(folder, 'joe.ovpn')), await credentials('eve')];
    await reaches(guest.address);
    await revokeCredentials(deps, await vpn(), 'joe');
    await ensureVpns(host);
    await expect.poll(() => pings(guest.address), { timeout: 60_000 }).toBe(false);
    joe.stop();
    expect(await opens(join(folder, 'joe.ovpn'))).toBe(false);
    const other = await connect(eve);
    await reaches(guest.address);
    other.stop();
    const rows = await certificatesOf(database.db, (await vpn()).id);
    expect(rows.map((each) => [each.name, each.revokedAt !== null])).toEqual([['joe', true], ['eve', false]]);
    await expect(revokeCredentials(deps, await vpn(), 'joe')).rejects.toThrow('no certificate of joe is in use');
    await expect(giveCredentials(deps, await vpn(), { name: 'eve', days: 1 })).rejects.toThrow('eve has a certificate already');
  });

  it('leads into the namespace of a router, by a port of the host', async () => {
    const namespace = `${name}-router`;
    await root('ip', ['netns', 'add', namespace]);
    const inside = createRun({ log: silentLog, networkNamespace: namespace });
    try {
      // The router's leg has the name of the bridge, as in every router of a project; behind it is a guest of a range that is in use elsewhere too.
      await root('ip', ['-n', namespace, 'link', 'add', 'nvbrx7', 'type', 'veth', 'peer', 'name', 'eth7', 'netns', `${name}-g1`]);
      await inside('ip', ['address', 'add', '10.46.0.1/24', 'dev', 'nvbrx7']);
      for (const link of ['nvbrx7', 'lo']) await inside('ip', ['link', 'set', link, 'up']);
      await inside('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
      await guest.run('ip', ['address', 'add', '10.46.0.9/24', 'dev', 'eth7']);
      await guest.run('ip', ['link', 'set', 'eth7', 'up']);
      await guest.run('ip', ['route', 'add', '172.27.0.0/24', 'via', '10.46.0.1']);
      const placed = await vpnsOfHost(database.db, 'h1');
      const moved = placed.map((each) => endpointOf({ ...each, network: { cidr: '10.46.0.0/24', bridge: 'nvbrx7', routerId: namespace } }, host));
      await host.driver.ensureEndpoints(moved);
      const client = await connect(join(folder, 'eve.ovpn'));
      await reaches('10.46.0.9');
      expect(await pings('10.46.0.1')).toBe(false);
      expect(await pings(guest.address)).toBe(false);
      const [before] = await servers();
      await host.driver.ensureEndpoints(moved);
      expect(await servers()).toEqual([before]);
      client.stop();
    } finally {
      await guest.run('ip', ['link', 'del', 'eth7'], { okCodes: [0, 1] });
      await host.driver.ensureEndpoints([]);
      await root('ip', ['netns', 'del', namespace]);
    }
  });

  it('leaves nothing behind when it is deleted', async () => {
    await deleteVpn(database.db, (await vpn()).id);
    await ensureVpns(host);
    expect(await servers()).toEqual([]);
    expect((await lab.run('nft', ['list', 'tables'])).stdout).not.toContain('novact_vpn');
    expect((await lab.run('ip', ['-o', 'link'])).stdout).not.toContain('novpn');

  });
});
