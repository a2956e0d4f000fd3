// N8, N12: floating addresses of the Linux driver on a host of namespaces: from outside, from the same network, from the host, on the way out, while they
// move under a running download, and after the host was built anew.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FirewallSpec, FloatingAddress, TrafficRule } from '../../src/drivers/network/driver.ts';
import type { Run } from '../../src/lib/exec.ts';
import { labNetwork, networkLab, port, sniffer, type Guest, type NetworkLab } from '../support/network-lab.ts';
import { eventually, until } from '../support/waiting.ts';

const anyone: TrafficRule[] = [{ protocol: '-1', fromPort: -1, toPort: -1, cidrs: ['0.0.0.0/0'] }];
const [first, second] = ['192.0.2.50', '192.0.2.51'] as const;
const answers = 80;

let lab: NetworkLab;
let one: Guest;
let two: Guest;
let three: Guest;
let outside: Run;

beforeAll(async () => {
  lab = await networkLab('floating');
  outside = await lab.outside();
  await lab.driver.ensureNetwork(labNetwork, []);
  [one, two, three] = [await lab.guest(1), await lab.guest(2), await lab.guest(3)];
  await Promise.all([one, two, three].map((guest) => guest.configure()));
  for (const guest of [one, two, three]) serveName(guest.name);
  serveName('floating-out');
});
afterAll(() => lab.down());
afterEach(() => lead());

/** Answers each connection with its own name and the caller's address. */
function serveName(namespace: string): void {
  lab.start(namespace, '/usr/bin/python3', '-u', '-c', `
import socketserver
class Handler(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(('%s to %s' % ('${namespace}', self.client_address[0])).encode())
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(('0.0.0.0', ${answers}), Handler).serve_forever()`);
}

const to = (guest: Guest, address: string = first): FloatingAddress => ({ address, fixed: guest.address, bridge: labNetwork.bridge });
const wish = (...floating: FloatingAddress[]): FirewallSpec => ({ ...lab.firewall([port(one, anyone), port(two, anyone), port(three, anyone)]), floating });
const lead = (...floating: FloatingAddress[]): Promise<void> => lab.driver.applyFirewall(wish(...floating));

/** What the server there says, and as whom it sees the caller. */
async function ask(run: Run, address: string): Promise<string> {
  const script = `import socket; s = socket.create_connection(('${address}', ${answers}), 2); print(s.recv(200).decode(), end='')`;
  return (await run('/usr/bin/python3', ['-c', script], { okCodes: [0, 1] })).stdout;
}
const asked = (run: Run, address: string, answer: string) => eventually(async () => (await ask(run, address)) === answer);
/** One command of the host: 10 ms on a quiet machine, a hundred times that on one that starts guests meanwhile. */
async function commandMs(): Promise<number> {
  const startedAt = performance.now();
  await lab.run('nft', ['list', 'tables']);
  return performance.now() - startedAt;
}
const addresses = async (): Promise<string> => (await lab.run('ip', ['-br', '-4', 'address', 'show', 'dev', 'up0'])).stdout;

describe('N8 a floating address', () => {
  it('is answered by its guest from outside, from the same network and from the host', async () => {
    await asked(outside, '192.0.2.2', 'floating-out to 192.0.2.2');
    await lead(to(one));
    await asked(outside, first, `${one.name} to 192.0.2.2`);
    expect(await ask(two.run, first)).toBe(`${one.name} to ${two.address}`);
    expect(await ask(lab.run, first)).toBe(`${one.name} to ${labNetwork.gateway}`);
  });

  it('is what its guest is seen as outside and by other floating addresses, and what the others are not', async () => {
    await lead(to(one), to(two, second));
    expect(await ask(one.run, '192.0.2.2')).toBe(`floating-out to ${first}`);
    expect(await ask(two.run, '192.0.2.2')).toBe(`floating-out to ${second}`);
    expect(await ask(three.run, '192.0.2.2')).toBe('floating-out to 192.0.2.1');
    expect(await ask(one.run, second)).toBe(`${two.name} to ${first}`);
    expect(await ask(one.run, two.address)).toBe(`${two.name} to ${one.address}`);
  });

  it('opens nothing that the guest\'s groups do not', async () => {
    const web: TrafficRule = { protocol: 'tcp', fromPort: answers, toPort: answers, cidrs: ['192.0.2.2/32'] };
    await lab.driver.applyFirewall({ ...lab.firewall([port(one, [web])]), floating: [to(one)] });
    expect(await ask(outside, first)).toBe(`${one.name} to 192.0.2.2`);
    expect((await outside('ping', ['-c', '1', '-W', '1', first], { okCodes: [0, 1] })).code).toBe(1);
    expect(await ask(lab.run, first)).toBe('');
  });

  it('that leads nowhere any more is not there, neither for the outside nor for the host', async () => {
    await lead(to(one));
    await asked(outside, first, `${one.name} to 192.0.2.2`);
    await lead();
    expect(await addresses()).not.toContain(first);
    expect(await ask(outside, first)).toBe('');
    expect(await ask(lab.run, first)).toBe('');
  });

  it('leads to another guest within a second, and a download from the old one ends', async () => {
    await lead(to(one));
    for (const guest of [one, two]) {
      lab.start(guest.name, '/usr/bin/python3', '-u', '-c', `
import socketserver
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        while True: self.request.sendall(b'${guest.name === one.name ? 'a' : 'b'}' * 65536)
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer(('0.0.0.0', 81), Handler).serve_forever()`);
    }
    await eventually(() => one.run('nc', ['-z', '127.0.0.1', '81'], { okCodes: [0, 1] }).then(({ code }) => code === 0));
    await eventually(() => two.run('nc', ['-z', '127.0.0.1', '81'], { okCodes: [0, 1] }).then(({ code }) => code === 0));
    const download = lab.start('floating-out', '/usr/bin/python3', '-u', '-c', `
import socket
s = socket.create_connection(('${first}', 81), 2); s.settimeout(8); got = 0; seen = set()
try:
    while True:
        data = s.recv(1 << 20)
        if not data: print('closed'); break
        if got == 0: print('begun')
        got += len(data); seen |= set(data)
except socket.timeout: print('silent')
except OSError as error: print('ended', type(error).__name__)
print('only', bytes(sorted(seen)).decode(), got > 0)`);
    await download.saw('begun');
    const budgetMs = Math.max(1_000, 25 * await commandMs());
    const startedAt = performance.now();
    await lead(to(two));
    expect(performance.now() - startedAt).toBeLessThan(budgetMs);
    expect(await ask(outside, first)).toBe(`${two.name} to 192.0.2.2`);
    // Reset by whoever gets its packets now, not left to hang; and nobody else's bytes came by it.
    await download.saw('ended ConnectionResetError');
    await download.saw('only a True');
  });

  it('is announced to the neighbours when it comes to this host', async () => {
    const seen = lab.start('floating-out', ...sniffer);
    await seen.saw('ready');
    await lead(to(one));
    const [mac, hex] = [(await lab.run('cat', ['/sys/class/net/up0/address'])).stdout.trim().replaceAll(':', ''), 'c0000232'];
    await until(() => seen.output().includes(`ffffffffffff${mac}08060001080006040001${mac}${hex}`));
    seen.stop();
  });
});

describe('N12 a host', () => {
  it('that is built anew has its floating addresses again, and one of the machine\'s own stays', async () => {
    await lab.run('ip', ['address', 'add', '192.0.2.60/32', 'dev', 'up0']);
    await lead(to(one), to(two, second));
    await lab.run('ip', ['address', 'delete', `${second}/32`, 'dev', 'up0']);
    await lead(to(one), to(two, second));
    await asked(outside, second, `${two.name} to 192.0.2.2`);
    await lab.driver.removeAll([]);
    await lab.driver.ensureNetwork(labNetwork, []);
    // The bridge is another one now: its guests are plugged in again, as a hypervisor does that starts them.
    for (const { tap } of [one, two, three]) await lab.run('ip', ['link', 'set', tap, 'master', labNetwork.bridge]);
    expect(await addresses()).not.toMatch(/192\.0\.2\.5/);
    await lead(to(one), to(two, second));
    await asked(outside, first, `${one.name} to 192.0.2.2`);
    await asked(outside, second, `${two.name} to 192.0.2.2`);
    await lead();
    expect(await addresses()).toContain('192.0.2.60/32');
    expect(await addresses()).not.toMatch(/192\.0\.2\.5/);
  });
});
