// Volumes over NBD: an nbdkit for each attachment. It is the fastest over a network, and knows nothing of who connects: rules of the firewall, a table for each
// attachment, let in certain addresses, for networks where nobody can pretend one. A guest whose server died gets errors until the disk is attached again
// (this libvirt has no word for QEMU's waiting), so that nothing restarts one that has a guest.
import { access, mkdir, readFile, rm } from 'node:fs/promises';
import { isIP, isIPv6 } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import { signalProcess } from '../../lib/processes.ts';
import type { Connection, ExportSpec } from './driver.ts';
import { ExportServers } from './export-servers.ts';
import type { ExporterInfo, ExportPast, VolumeExporter } from './exporter.ts';
import type { VolumeDevice } from './store.ts';

export interface NbdOptions {
  /** A folder of its own, for what nbdkit says. */
  readonly folder: string;
  /** By which other hosts reach this one. */
  readonly address: string;
  /** Ports from here on are taken, one for each attached volume. */
  readonly firstPort: number;
  readonly run: Run;
  readonly clock: Clock;
}

const readyMs = 10_000;
const pollMs = 20;
/** A busy host may take its time to make a process. */
const forkMs = 3_000;
const portsTriedMax = 50;

const tableOf = (attachmentId: string): string => `inet novact_nbd_${attachmentId.replaceAll('-', '_')}`;

export const createNbdExporter = (options: NbdOptions): VolumeExporter => new NbdExporter(options);

class NbdExporter implements VolumeExporter {
  readonly info: ExporterInfo = { name: 'nbd', remote: true, resizeOnline: false, liveMigration: false, authenticates: false, holds: true };
  readonly #options: NbdOptions;
  readonly #servers: ExportServers;
  #onDeath: (attachmentId: string) => void = () => undefined;

  constructor(options: NbdOptions) {
    this.#options = options;
    this.#servers = new ExportServers('nbdkit', options.run, options.clock);
  }

  async probe(): Promise<void> {
    await mkdir(this.#options.folder, { recursive: true, mode: 0o700 });
    await this.#options.run('nbdkit', ['--version']).catch((cause: unknown) => {
      throw new DriverError('unsupported', 'nbdkit is not installed; mend it with: apt-get install nbdkit', { cause });
    });
  }

  async serve(spec: ExportSpec, device: VolumeDevice, past: ExportPast): Promise<Connection> {
    const { attachmentId, volumeId } = spec;
    const { address } = this.#options;
    const mark = this.#mark(attachmentId);
    const known = past.own?.connection.protocol === 'nbd' ? past.own.connection : undefined;
    const running = await this.#servers.find(mark);
    const isRight = known !== undefined && running !== undefined && past.own?.sizeBytes === device.sizeBytes;
    if (isRight) {
      await this.#letIn(spec, known.port);
      // One that was held when novact died stands still.
      signalProcess(running.pid, 'SIGCONT');
    }
    const port = isRight ? known.port : await this.#startAnew(spec, device, { known: known?.port, others: past.others });
    this.#servers.watch(mark, () => this.#onDeath(attachmentId));
    return { protocol: 'nbd', address, port, exportName: volumeId };
  }

  async end(attachmentId: string): Promise<void> {
    await this.#servers.end(this.#mark(attachmentId));
    const table = tableOf(attachmentId);
    await this.#options.run('nft', ['-f', '-'], { input: `table ${table} {\n}\ndelete table ${table}\n` });
    await rm(this.#folder(attachmentId), { recursive: true, force: true });
  }

  async isServed(attachmentId: string): Promise<boolean> {
    return (await this.#servers.find(this.#mark(attachmentId))) !== undefined;
  }

  hold<T>(attachmentId: string, work: () => Promise<T>): Promise<T> {
    return this.#servers.hold(this.#mark(attachmentId), work);
  }

  onDeath(listener: (attachmentId: string) => void): void {
    this.#onDeath = listener;
  }

  async close(): Promise<void> {
    this.#servers.close();
  }

  #folder(attachmentId: string): string {
    return join(this.#options.folder, attachmentId);
  }

  #mark(attachmentId: string): string {
    return join(this.#folder(attachmentId), 'pid');
  }

  /** After: these may connect to that port, and others are refused. In one step: there is no moment without rules. */
  async #letIn({ attachmentId, initiators }: ExportSpec, port: number): Promise<void> {
    const addresses = initiators.map(({ name, address }) => {
      if (address === undefined) throw new DriverError('unsupported', `NBD knows who connects by the address only, and that of ${name} is not known`);
      if (isIP(address) === 0) throw new DriverError('failed', `${JSON.stringify(address)} is not an address`);
      return address;
    });
    const family = isIPv6(this.#options.address) ? 'ip6' : 'ip';
    const others = `${family} daddr ${this.#options.address} tcp dport ${port} ${family} saddr != { ${addresses.join(', ')} } reject with tcp reset`;
    const table = tableOf(attachmentId);
    const chain = `chain input {\n type filter hook input priority -10\n policy accept\n ${others}\n}`;
    await this.#options.run('nft', ['-f', '-'], { input: `table ${table} {\n}\ndelete table ${table}\ntable ${table} {\n${chain}\n}\n` });
  }

  async #startAnew(spec: ExportSpec, device: VolumeDevice, ports: { known: number | undefined; others: readonly Connection[] }): Promise<number> {
    const taken = new Set(ports.others.map((other) => (other.protocol === 'nbd' ? other.port : 0)));
    const free = Array.from({ length: portsTriedMax + taken.size }, (_, index) => this.#options.firstPort + index).filter((port) => !taken.has(port));
    for (const port of ports.known === undefined ? free.slice(0, portsTriedMax) : [ports.known]) if (await this.#start(spec, device, port)) return port;
    throw new DriverError('failed', `nbdkit cannot serve ${spec.volumeId} at ${this.#options.address}, port ${ports.known ?? this.#options.firstPort}`);
  }

  /** False when the port is taken: then it ends. It writes its pid file when it listens. */
  async #start(spec: ExportSpec, device: VolumeDevice, port: number): Promise<boolean> {
    const { clock } = this.#options;
    const [folder, mark] = [this.#folder(spec.attachmentId), this.#mark(spec.attachmentId)];
    await this.#servers.end(mark);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const old of [mark, join(folder, 'log')]) await rm(old, { force: true });
    await this.#letIn(spec, port);
    const listening = ['-i', this.#options.address, '-p', String(port)];
    await this.#servers.start({ command: 'nbdkit', args: ['-f', '-P', mark, ...listening, 'file', device.path], logPath: join(folder, 'log') });
    const startedAt = clock.now();
    while (clock.now() - startedAt < readyMs) {
      if (await access(mark).then(() => true, () => false)) return true;
      const said = await readFile(join(folder, 'log'), 'utf8').catch(() => '');
      if (said.includes('Address already in use')) return false;
      const isOver = clock.now() - startedAt > forkMs && !(await this.isServed(spec.attachmentId));
      if (isOver) throw new DriverError('failed', `nbdkit for ${spec.attachmentId} ended: ${said.trim().split('\n').at(-1) ?? ''}`, { output: said });
      await clock.sleep(pollMs);
    }
    throw new DriverError('timeout', `nbdkit for ${spec.attachmentId} does not listen after ${readyMs} ms`);
  }
}
