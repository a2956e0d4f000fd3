// Volumes over NBD: an nbdkit for each attachment. It is the fastest over a network, and knows nothing of who connects: rules of the firewall, a table for each
// attachment, let in certain addresses, for networks where nobody can pretend one. A guest whose server died gets errors until the disk is attached again
// (this libvirt has no word for QEMU's waiting), so that nothing restarts one that has a guest.
import { access } from 'node:fs/promises';
import { isIP, isIPv6 } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import type { Connection, ExportSpec } from './driver.ts';
import { startAtPort } from './export-port.ts';
import { ExportServers, type ExportProgram } from './export-servers.ts';
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

const nbdkit: ExportProgram = { name: 'nbdkit', package: 'nbdkit', probeArgs: ['--version'], markName: 'pid', holds: true };

const tableOf = (attachmentId: string): string => `inet novact_nbd_${attachmentId.replaceAll('-', '_')}`;

export const createNbdExporter = (options: NbdOptions): VolumeExporter => new NbdExporter(options);

class NbdExporter implements VolumeExporter {
  readonly info: ExporterInfo = { name: 'nbd', remote: true, resizeOnline: false, liveMigration: false, authenticates: false };
  readonly servers: ExportServers;
  readonly #options: NbdOptions;

  constructor(options: NbdOptions) {
    this.#options = options;
    this.servers = new ExportServers(nbdkit, options);
  }

  probe(): Promise<void> {
    return this.servers.probe();
  }

  async serve(spec: ExportSpec, device: VolumeDevice, { own, others }: ExportPast): Promise<Connection> {
    const { attachmentId, volumeId } = spec;
    const { address, firstPort } = this.#options;
    const known = own?.connection.protocol === 'nbd' ? own.connection.port : undefined;
    const isRight = known !== undefined && own?.sizeBytes === device.sizeBytes && (await this.servers.resume(attachmentId)) !== undefined;
    if (isRight) await this.#letIn(spec, known);
    const port = isRight ? known : await startAtPort({ address, firstPort, known, others }, (one) => this.#start(spec, device, one));
    this.servers.watch(attachmentId);
    return { protocol: 'nbd', address, port, exportName: volumeId };
  }

  async end(attachmentId: string): Promise<void> {
    await this.servers.end(attachmentId);
    const table = tableOf(attachmentId);
    await this.#options.run('nft', ['-f', '-'], { input: `table ${table} {\n}\ndelete table ${table}\n` });
  }

  async isServed(attachmentId: string): Promise<boolean> {
    return (await this.servers.find(attachmentId)) !== undefined;
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

  /** False when the port is taken. It writes its pid file when it listens. */
  async #start(spec: ExportSpec, device: VolumeDevice, port: number): Promise<boolean> {
    const { attachmentId } = spec;
    await this.servers.clear(attachmentId);
    await this.#letIn(spec, port);
    const mark = this.servers.markOf(attachmentId);
    return this.servers.start(attachmentId, {
      args: ['-f', '-P', mark, '-i', this.#options.address, '-p', String(port), 'file', device.path],
      serves: async (said) => (said.includes('Address already in use') ? false : access(mark).then(() => true, () => undefined)),
    });
  }
}
