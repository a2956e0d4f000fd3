// What networks of projects cost: ping and one TCP stream from guest to guest on one host, from host to host and through a floating address, each beside
// two namespaces on a bare bridge; how soon a change of a group is felt; and a thousand rules for a thousand ports. Guests are namespaces on veths, as
// fast as the kernel can be: what is seen is the network's share alone. Root only: `npm run bench -- network`.
import { spawn } from 'node:child_process';
import type { PortSpec, TrafficRule } from '../../src/drivers/network/driver.ts';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import {
  everything, inGuest, outsideAddress, projectLab, serveWord, type LabHost, type ProjectGuest, type ProjectLab, type ProjectNetwork,
} from '../support/project-lab.ts';
import { atLeast, atMost, median, type BenchRow } from './row.ts';

const rounds = Number(process.env['NOVACT_BENCH_ROUNDS'] ?? 3);
const root = createRun({ log: silentLog });
const red: ProjectNetwork = { projectId: 'red', routerId: 'vpc-red00000000000000', segment: 5091, cidr: '10.0.0.0/22', gateway: '10.0.0.1' };
const publicAddress = '198.51.100.70';
const streamPort = 5201;

/** Who asks, who answers, and at which address. */
interface Path {
  readonly from: Namespace;
  readonly to: Namespace;
  readonly address: string;
}

interface Namespace {
  readonly name: string;
  readonly run: Run;
}

/** Two namespaces on a bridge in a third one, with nothing of novact's. */
async function barePath(): Promise<{ path: Path; down: () => Promise<void> }> {
  const names = ['bare', 'one', 'two'].map((word) => `nbench-${word}`);
  const [bare, one, two] = names.map((name) => ({ name, run: createRun({ log: silentLog, networkNamespace: name }) }));
  if (bare === undefined || one === undefined || two === undefined) throw new Error('three namespaces are needed');
  const down = async (): Promise<void> => {
    for (const name of names) await root('ip', ['netns', 'del', name], { okCodes: [0, 1] });
  };
  await down();
  for (const name of names) await root('ip', ['netns', 'add', name]);
  await bare.run('ip', ['link', 'add', 'bridge0', 'type', 'bridge', 'forward_delay', '0']);
  await bare.run('ip', ['link', 'set', 'bridge0', 'up']);
  for (const [index, guest] of [one, two].entries()) {
    const tap = `tap${index}`;
    await root('ip', ['-n', bare.name, 'link', 'add', tap, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', guest.name]);
    await bare.run('ip', ['link', 'set', tap, 'master', 'bridge0', 'up']);
    await guest.run('ip', ['address', 'add', `192.0.2.${index + 1}/24`, 'dev', 'eth0']);
    await guest.run('ip', ['link', 'set', 'eth0', 'up']);
  }
  return { path: { from: one, to: two, address: '192.0.2.2' }, down };
}

/** The middle round trip of two hundred, in microseconds. */
async function pingOf({ from, address }: Path): Promise<number> {
  await from.run('ping', ['-c', '3', '-i', '0.2', '-W', '2', address]);
  const { stdout } = await from.run('ping', ['-c', '200', '-i', '0.005', address]);
  return 1_000 * median([...stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1])));
}

const receiver = `
  require('net').createServer((socket) => {
    const startedAt = process.hrtime.bigint();
    let bytes = 0;
    socket.on('data', (data) => { bytes += data.length; });
    socket.on('end', () => console.log(bytes / 2 ** 20 / (Number(process.hrtime.bigint() - startedAt) / 1e9)));
    socket.on('error', () => {});
  }).listen(${streamPort}, () => console.log('up'))`;
const sender = (address: string): string => `
  const socket = require('net').connect(${streamPort}, '${address}');
  const [block, endsAt] = [Buffer.alloc(131072), Date.now() + 2000];
  const go = () => {
    while (Date.now() < endsAt && socket.write(block));
    if (Date.now() >= endsAt) socket.end();
  };
  socket.on('drain', go);
  socket.on('connect', go)`;

/** One TCP stream for two seconds, in MiB/s, as the receiver counts it. */
async function streamOf({ from, to, address }: Path): Promise<number> {
  const child = spawn('ip', ['netns', 'exec', to.name, process.execPath, '-e', receiver], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said = child.stdout[Symbol.asyncIterator]();
  try {
    await said.next();
    await from.run(process.execPath, ['-e', sender(address)], { timeoutMs: 30_000 });
    return Number(String((await said.next()).value));
  } finally {
    child.kill('SIGKILL');
  }
}

/** Beside the bare path of the same moment. */
async function compared(name: string, path: Path, bare: Path): Promise<BenchRow[]> {
  const found = { ping: [] as number[], barePing: [] as number[], stream: [] as number[], bareStream: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    found.barePing.push(await pingOf(bare));
    found.ping.push(await pingOf(path));
    found.bareStream.push(await streamOf(bare));
    found.stream.push(await streamOf(path));
  }
  const [ping, barePing, stream, bareStream] = [found.ping, found.barePing, found.stream, found.bareStream].map(median);
  if (ping === undefined || barePing === undefined || stream === undefined || bareStream === undefined) return [];
  return [
    { name: `${name}: ping`, value: ping, unit: 'µs', baseline: `a bare bridge, ${barePing.toFixed(0)}`, ratio: ping / barePing },
    {
      name: `${name}: one stream`, value: stream, unit: 'MiB/s', baseline: `a bare bridge, ${bareStream.toFixed(0)}`, ratio: stream / bareStream,
      target: atLeast(stream / bareStream, 0.3, '×'),
    },
  ];
}

const ruleTo = (port: number): TrafficRule => ({ protocol: 'tcp', fromPort: port, toPort: port, cidrs: ['0.0.0.0/0'] });

/** From the wish to the first answer on a port that was closed, on a host with a hundred ports. */
async function changesFelt(lab: ProjectLab, host: LabHost, guests: readonly [ProjectGuest, ProjectGuest]): Promise<BenchRow[]> {
  const [asking, answering] = guests;
  const stop = await serveWord(inGuest(answering), 'yes', 8080);
  const others = manyPorts(host, 100, [ruleTo(22)]);
  const apply = (ingress: readonly TrafficRule[]) => host.driver.applyFirewall({
    networks: [host.spec(red)], metadataPort: 8775, ports: [{ ...asking.port, ingress: [everything] }, { ...answering.port, ingress }, ...others],
  });
  const opened: number[] = [];
  try {
    for (let round = 0; round < 34 * rounds; round += 1) {
      await apply([ruleTo(22)]);
      const startedAt = performance.now();
      await apply([ruleTo(22), ruleTo(8080)]);
      if ((await asking.hears(answering.port.address, 8080)) === undefined) throw new Error('an open port does not answer');
      opened.push(performance.now() - startedAt);
    }
  } finally {
    stop();
    await lab.applyRules(host, guests);
  }
  const p99 = opened.toSorted((a, b) => a - b)[Math.ceil(opened.length * 0.99) - 1] ?? Number.NaN;
  return [
    { name: `a rule that is added is felt, p50 of ${opened.length}`, value: median(opened), unit: 'ms' },
    { name: 'the same, p99', value: p99, unit: 'ms', target: atMost(p99, 1_000, 'ms') },
  ];
}

function manyPorts(host: LabHost, count: number, ingress: readonly TrafficRule[]): PortSpec[] {
  const { bridge } = host.spec(red);
  return Array.from({ length: count }, (_, n) => ({
    instanceId: `i-${n}`, tap: `nvbench${n}`, bridge, mac: `02:16:3e:ff:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`,
    address: `10.0.${1 + Math.floor(n / 250)}.${1 + (n % 250)}`, ingress,
  }));
}

/** A thousand rules in ten groups of a hundred, and a hundred ports in each group; then one rule less in one of the groups. */
async function aThousand(host: LabHost, bare: Run): Promise<BenchRow[]> {
  const groups = Array.from({ length: 10 }, (_, group) => Array.from({ length: 100 }, (_each, n): TrafficRule => (
    { protocol: n % 2 === 0 ? 'tcp' : 'udp', fromPort: 1_000 + n * 10, toPort: 1_005 + n * 10, cidrs: [`10.${group}.${n}.0/24`] })));
  const wish = (count: number, rules = groups) => ({
    networks: [host.spec(red)], metadataPort: 8775, ports: manyPorts(host, count, []).map((port, n) => ({ ...port, ingress: rules[n % 10] ?? [] })),
  });
  const edited = groups.map((rules, group) => (group === 0 ? rules.slice(1) : rules));
  const rules = Array.from({ length: 1_000 }, (_, n) => `    ip saddr 10.${n % 200}.0.0/24 tcp dport ${1_000 + n} accept\n`).join('');
  const table = `table inet bench\ndelete table inet bench\ntable inet bench {\n  chain every {\n    type filter hook forward priority 0;\n${rules}  }\n}\n`;
  const [applied, changed, plain]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < rounds; round += 1) {
    await host.driver.applyFirewall(wish(0));
    plain.push(await timed(() => bare('nft', ['-f', '-'], { input: table })));
    applied.push(await timed(() => host.driver.applyFirewall(wish(1_000))));
    changed.push(await timed(() => host.driver.applyFirewall(wish(1_000, edited))));
  }
  const [value, change, beside] = [median(applied), median(changed), median(plain)];
  const baseline = `nft -f of 1 000 bare rules, ${beside.toFixed(0)}`;
  return [
    {
      name: '1 000 rules for 1 000 ports, rendered and in force', value, unit: 'ms', baseline, ratio: value / beside, target: atMost(value, 1_000, 'ms'),
    },
    { name: 'one of them changed, for the 100 ports of its group', value: change, unit: 'ms', baseline, ratio: change / beside },
  ];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

export async function run(): Promise<readonly BenchRow[]> {
  const bare = await barePath();
  const lab = await projectLab('nbench', { hosts: 2 });
  try {
    const [one, two] = lab.hosts;
    if (one === undefined || two === undefined) throw new Error('two hosts are needed');
    const [first, second, far] = [await lab.guest(one, red, 10), await lab.guest(one, red, 11), await lab.guest(two, red, 12)];
    const guests = [first, second, far];
    for (const host of lab.hosts) await lab.ensure(host, guests);
    for (const guest of guests) await guest.lease();
    const between = (from: ProjectGuest, to: ProjectGuest): Path => (
      { from: { name: from.namespace, run: from.run }, to: { name: to.namespace, run: to.run }, address: to.port.address });
    const rows = [...(await compared('guest to guest on a host', between(first, second), bare.path))];
    rows.push(...(await compared('guest to guest on two hosts', between(first, far), bare.path)));
    await lab.applyRules(one, guests, undefined, [{ address: publicAddress, fixed: first.port.address, bridge: first.port.bridge }]);
    const fromOutside: Path = { ...between(second, first), from: { name: 'nbench-w', run: lab.outside }, address: publicAddress };
    rows.push(...(await compared(`${outsideAddress} to a floating address`, fromOutside, bare.path)));
    rows.push(...(await changesFelt(lab, one, [first, second])));
    rows.push(...(await aThousand(one, bare.path.from.run)));
    return rows;
  } finally {
    await lab.down();
    await bare.down();
  }
}
