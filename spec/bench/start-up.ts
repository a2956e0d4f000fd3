// How long `novact up` needs until it is ready, on a state that is new and on one that is there, and how much memory novact and its
// PostgreSQL hold, after the start and after twenty launches (containers, for speed): of novact all that is resident, of PostgreSQL the
// proportional sizes, for its processes share their buffers. Guests, libvirtd and dnsmasq are not counted in; the last two are shown.
// Root only. `npm run bench -- start-up`; NOVACT_BENCH_ROUNDS (default 5).
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { openBoto3 } from '../support/clients.ts';
import { startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { waitFor } from '../support/patience.ts';
import { atMost, median, type BenchRow } from './row.ts';

const rounds = Number(process.env['NOVACT_BENCH_ROUNDS'] ?? 5);
const launches = 20;

interface Memory {
  readonly novact: number;
  readonly postgres: number;
  readonly dnsmasq: number;
  readonly libvirtd: number;
}

interface Round {
  readonly first: number;
  readonly second: number;
  readonly started: Memory;
  readonly launched: Memory | undefined;
}

export async function run(): Promise<readonly BenchRow[]> {
  const measured: Round[] = [];
  for (let round = 0; round < rounds; round += 1) measured.push(await measure(round === rounds - 1));
  return rowsOf(measured);
}

async function measure(withLaunches: boolean): Promise<Round> {
  const cloud = await startCloudProcess('bench-start', { guests: 'lxc', settings: { NOVACT_CORES_RATIO: '64' } });
  try {
    await checkBuilt(cloud);
    const first = cloud.readyMs();
    await cloud.stop();
    const second = await cloud.start();
    const started = await memoryOf(cloud);
    return { first, second, started, launched: withLaunches ? await launch(cloud) : undefined };
  } catch (error) {
    throw new Error(`the benchmark stopped\n${await cloud.tail()}`, { cause: error });
  } finally {
    await cloud.down();
  }
}

/** Straight from source, the compiler would be measured too. */
async function checkBuilt(cloud: CloudProcess): Promise<void> {
  const command = await readFile(`/proc/${cloud.pid()}/cmdline`, 'utf8');
  if (command.includes('from-source')) throw new Error('dist is older than src: run bin/bootstrap, or name another novact by NOVACT_SPEC_COMMAND');
}

type Described = { Reservations: { Instances: { State: { Name: string } }[] }[] };

/** Memory while all of them run. */
async function launch(cloud: CloudProcess): Promise<Memory> {
  const boto3 = openBoto3(cloud);
  try {
    const found = await boto3.call<{ Images: { ImageId: string }[] }>('ec2', 'describe_images', { Filters: [{ Name: 'name', Values: ['novact-tiny'] }] });
    const ImageId = found.Images[0]?.ImageId;
    for (let launched = 0; launched < launches; launched += 4) {
      await boto3.call('ec2', 'run_instances', { ImageId, InstanceType: 't2.nano', MinCount: 4, MaxCount: 4 });
      await waitFor(`${launched + 4} running`, { timeoutMs: 60_000 }, async () => {
        const { Reservations } = await boto3.call<Described>('ec2', 'describe_instances');
        const running = Reservations.flatMap((reservation) => reservation.Instances).filter((instance) => instance.State.Name === 'running');
        return running.length === launched + 4 ? true : undefined;
      });
    }
    return await memoryOf(cloud);
  } finally {
    await boto3.close();
  }
}

async function memoryOf(cloud: CloudProcess): Promise<Memory> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const processes = await Promise.all(pids.map(async (pid) => {
    const [command, folder, sizes] = await Promise.all([
      readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''), readlink(`/proc/${pid}/cwd`).catch(() => ''), sizesMiB(pid),
    ]);
    return { pid: Number(pid), command, folder, ...sizes };
  }));
  const sum = (counts: (process: (typeof processes)[number]) => boolean): number =>
    processes.filter(counts).reduce((total, { pss }) => total + pss, 0);
  const libvirtd = Number(await readFile(join(cloud.host.directory, 'run/libvirtd.pid'), 'utf8'));
  return {
    // Other Node processes of the machine would make its proportional size look small.
    novact: processes.find(({ pid }) => pid === cloud.pid())?.resident ?? Number.NaN,
    postgres: sum(({ folder }) => folder === join(cloud.state, 'postgres/data')),
    dnsmasq: sum(({ command }) => command.includes('dnsmasq') && command.includes(cloud.state)),
    libvirtd: sum(({ pid }) => pid === libvirtd),
  };
}

/** Proportional: shared pages are divided among those who share them. */
async function sizesMiB(pid: string): Promise<{ pss: number; resident: number }> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / 1024;
  return { pss: of('Pss'), resident: of('Rss') };
}

function rowsOf(measured: readonly Round[]): BenchRow[] {
  const of = (pick: (round: Round) => number | undefined): number => median(measured.map(pick).filter((value) => value !== undefined));
  const memory = (when: string, pick: (round: Round) => Memory | undefined): BenchRow[] => {
    const part = (name: keyof Memory): number => of((round) => pick(round)?.[name]);
    const all = of((round) => {
      const found = pick(round);
      return found === undefined ? undefined : found.novact + found.postgres;
    });
    return [
      { name: `memory ${when}, novact and PostgreSQL`, value: all, unit: 'MiB', target: atMost(all, 286, 'MiB') },
      ...(['novact', 'postgres', 'dnsmasq', 'libvirtd'] as const).map((name): BenchRow => ({ name: `  ${name}`, value: part(name), unit: 'MiB' })),
    ];
  };
  const second = of((round) => round.second) / 1_000;
  return [
    { name: 'novact up to ready, new state', value: of((round) => round.first) / 1_000, unit: 's' },
    { name: 'novact up to ready, second start', value: second, unit: 's', target: atMost(second, 5, 's') },
    ...memory('after the start', (round) => round.started),
    ...memory(`with ${launches} instances`, (round) => round.launched),
    { name: 'rounds', value: measured.length, unit: '' },
  ];
}
