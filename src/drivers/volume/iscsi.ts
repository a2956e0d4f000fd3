// Volumes over iSCSI: a tgtd for each attachment, with one target, one logical unit, one CHAP account, and those hosts that may connect. tgtd forgets all
// of it when it dies; it is told again, and guests go on when they have reconnected, which they do by themselves.
import { mkdir, readFile, rm } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import { signalProcess } from '../../lib/processes.ts';
import { socketDirectoryOf } from '../../lib/socket-directory.ts';
import type { Connection, ExportSpec, Initiator } from './driver.ts';
import { ExportServers } from './export-servers.ts';
import type { ExporterInfo, ExportPast, VolumeExporter } from './exporter.ts';
import type { VolumeDevice } from './store.ts';
import { parseTgtTarget, tellTgt, type TgtRequest, type TgtTarget } from './tgt-management.ts';

export interface IscsiOptions {
  /** A folder of its own, for what tgtd says and where it is spoken to. */
  readonly folder: string;
  /** By which other hosts reach this one. */
  readonly address: string;
  /** Ports from here on are taken, one for each attached volume. */
  readonly firstPort: number;
  /** What the names of targets begin with: `iqn.2011-02.org.novact`. */
  readonly namePrefix: string;
  readonly run: Run;
  readonly clock: Clock;
}

const tellMs = 5_000;
const readyMs = 10_000;
const pollMs = 20;
/** A busy host may take its time to make a process. */
const forkMs = 3_000;
const portsTriedMax = 50;
const [targetNumber, lun] = [1, 1];
/** Of one disk: its guest has one queue. */
const threads = 4;

type IscsiConnection = Extract<Connection, { protocol: 'iscsi' }>;

export const createIscsiExporter = (options: IscsiOptions): VolumeExporter => new IscsiExporter(options);

class IscsiExporter implements VolumeExporter {
  readonly info: ExporterInfo = { name: 'iscsi', remote: true, resizeOnline: true, liveMigration: true, authenticates: true, holds: true };
  readonly #options: IscsiOptions;
  readonly #servers: ExportServers;
  #onDeath: (attachmentId: string) => void = () => undefined;

  constructor(options: IscsiOptions) {
    this.#options = options;
    this.#servers = new ExportServers('tgtd', options.run, options.clock);
  }

  async probe(): Promise<void> {
    await mkdir(this.#options.folder, { recursive: true, mode: 0o700 });
    await this.#options.run('tgtd', ['--version']).catch((cause: unknown) => {
      throw new DriverError('unsupported', 'tgtd is not installed; mend it with: apt-get install tgt', { cause });
    });
  }

  async serve(spec: ExportSpec, device: VolumeDevice, past: ExportPast): Promise<Connection> {
    const { attachmentId } = spec;
    if (past.own !== undefined && past.own.sizeBytes !== device.sizeBytes) await this.#servers.end(this.#mark(attachmentId));
    const known = past.own?.connection;
    const port = await this.#ensureServer(attachmentId, known?.protocol === 'iscsi' ? known : undefined, past.others);
    const connection: IscsiConnection = {
      protocol: 'iscsi', address: this.#options.address, port, target: `${this.#options.namePrefix}:${spec.volumeId}.${attachmentId}`, lun, user: attachmentId,
    };
    await this.#ensureTarget(spec, device, connection);
    this.#servers.watch(this.#mark(attachmentId), () => this.#onDeath(attachmentId));
    return connection;
  }

  async end(attachmentId: string): Promise<void> {
    await this.#servers.end(this.#mark(attachmentId));
    const folder = this.#folder(attachmentId);
    await rm(socketDirectoryOf(folder), { recursive: true, force: true });
    await rm(folder, { recursive: true, force: true });
  }

  async isServed(attachmentId: string): Promise<boolean> {
    return (await this.#servers.find(this.#mark(attachmentId))) !== undefined && (await this.#target(attachmentId).catch(() => undefined)) !== undefined;
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

  /** tgtd writes no pid file in the foreground; the name of it is what tells its processes apart. */
  #mark(attachmentId: string): string {
    return join(this.#folder(attachmentId), 'pid');
  }

  #socket(attachmentId: string): string {
    return join(socketDirectoryOf(this.#folder(attachmentId)), 'tgtd');
  }

  #tell(attachmentId: string, request: TgtRequest): Promise<string> {
    // Control port 0 is the end of the socket's name.
    return tellTgt(`${this.#socket(attachmentId)}.0`, request, { clock: this.#options.clock, timeoutMs: tellMs });
  }

  async #target(attachmentId: string): Promise<TgtTarget | undefined> {
    return parseTgtTarget(await this.#tell(attachmentId, { mode: 'target', operation: 'show' }));
  }

  /** The port of the one that runs; of a new one, that which it had before, or the first that nobody has. */
  async #ensureServer(attachmentId: string, known: IscsiConnection | undefined, others: readonly Connection[]): Promise<number> {
    const running = await this.#servers.find(this.#mark(attachmentId));
    const runningPort = Number(/:(\d+)$/.exec(running?.args.find((arg) => arg.startsWith('portal=')) ?? '')?.[1]);
    if (running !== undefined && (known === undefined || known.port === runningPort)) {
      // One that was held when novact died stands still.
      signalProcess(running.pid, 'SIGCONT');
      return runningPort;
    }
    const taken = new Set(others.map((other) => (other.protocol === 'iscsi' ? other.port : 0)));
    const free = Array.from({ length: portsTriedMax + taken.size }, (_, index) => this.#options.firstPort + index).filter((port) => !taken.has(port));
    for (const port of known === undefined ? free.slice(0, portsTriedMax) : [known.port]) if (await this.#start(attachmentId, port)) return port;
    throw new DriverError('failed', `tgtd cannot listen at ${this.#options.address}, port ${known?.port ?? this.#options.firstPort}: somebody else does`);
  }

  /** False when the port is taken: then it runs on, and serves nobody. */
  async #start(attachmentId: string, port: number): Promise<boolean> {
    const { address, clock } = this.#options;
    await this.#servers.end(this.#mark(attachmentId));
    const [folder, socket] = [this.#folder(attachmentId), this.#socket(attachmentId)];
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await mkdir(socketDirectoryOf(folder), { recursive: true, mode: 0o700 });
    await rm(`${socket}.0`, { force: true });
    const portal = `${isIPv6(address) ? `[${address}]` : address}:${port}`;
    await this.#servers.start({
      command: 'tgtd', args: ['-f', '-t', String(threads), '-p', this.#mark(attachmentId), '--iscsi', `portal=${portal}`],
      env: { TGT_IPC_SOCKET: socket }, logPath: join(folder, 'log'),
    });
    const until = clock.now() + readyMs;
    for (;;) {
      const portals = await this.#tell(attachmentId, { mode: 'portal', operation: 'show' }).catch((error: unknown) => {
        if (clock.now() >= until) throw error;
        return undefined;
      });
      if (portals !== undefined) {
        if (portals.includes(`${portal},`)) return true;
        await this.#servers.end(this.#mark(attachmentId));
        return false;
      }
      const isOld = clock.now() + readyMs - until > forkMs;
      if (isOld && (await this.#servers.find(this.#mark(attachmentId))) === undefined) throw await this.#died(attachmentId);
      await clock.sleep(pollMs);
    }
  }

  async #died(attachmentId: string): Promise<DriverError> {
    const said = await readFile(join(this.#folder(attachmentId), 'log'), 'utf8').catch(() => '');
    return new DriverError('failed', `tgtd for ${attachmentId} ended as soon as it was started`, { output: said.slice(-2_000) });
  }

  /** Who may connect comes last: before that, nobody can. */
  async #ensureTarget(spec: ExportSpec, device: VolumeDevice, { target: name, user }: IscsiConnection): Promise<void> {
    const tell = (request: TgtRequest) => this.#tell(spec.attachmentId, { target: targetNumber, ...request });
    const found = await this.#target(spec.attachmentId);
    if (found === undefined) await tell({ mode: 'target', operation: 'create', values: { targetname: name } });
    if (found?.devices.length !== 1) {
      await tell({ mode: 'device', operation: 'create', device: BigInt(lun), values: { path: device.path, bstype: 'rdwr' } });
      const names = { vendor_id: 'novact', product_id: 'volume', scsi_id: spec.volumeId, scsi_sn: spec.volumeId };
      await tell({ mode: 'device', operation: 'update', device: BigInt(lun), values: names });
    }
    if (found?.accounts.includes(user) !== true) {
      await this.#tell(spec.attachmentId, { mode: 'account', operation: 'delete', values: { user } }).catch(() => undefined); // made, and not bound
      await this.#tell(spec.attachmentId, { mode: 'account', operation: 'create', values: { user, password: spec.secret.reveal() } });
      await tell({ mode: 'account', operation: 'bind', values: { user } });
    }
    const wanted = spec.initiators.map((initiator) => ruleOf(initiator));
    for (const rule of wanted) {
      if (found?.allowed.includes(Object.values(rule)[0] ?? '') !== true) await tell({ mode: 'target', operation: 'bind', values: rule });
    }
    await this.#refuseOthers(spec, wanted.flatMap((rule) => Object.values(rule)), found);
  }

  async #refuseOthers({ attachmentId, initiators }: ExportSpec, wanted: readonly string[], found: TgtTarget | undefined): Promise<void> {
    for (const rule of found?.allowed ?? []) {
      if (wanted.includes(rule)) continue;
      const values: Record<string, string> = /^(iqn|eui|naa)\./.test(rule) ? { 'initiator-name': rule } : { 'initiator-address': rule };
      await this.#tell(attachmentId, { mode: 'target', operation: 'unbind', target: targetNumber, values });
    }
    for (const { id, initiator, connections } of found?.sessions ?? []) {
      for (const connection of connections) {
        const isWanted = initiators.some(({ name, address }) => (address === undefined ? name === initiator : address === connection.address));
        const where = { target: targetNumber, session: id, connection: connection.id };
        if (!isWanted) await this.#tell(attachmentId, { mode: 'connection', operation: 'delete', ...where });
      }
    }
  }
}

/** tgtd lets in whom an address or a name allows, not both together: the address is the harder one to pretend. */
const ruleOf = ({ name, address }: Initiator): Readonly<Record<string, string>> =>
  address === undefined ? { 'initiator-name': name } : { 'initiator-address': address };
