// Volumes over iSCSI: a tgtd for each attachment, with one target, one logical unit, one CHAP account, and those hosts that may connect. tgtd forgets all
// of it when it dies; it is told again, and guests go on when they have reconnected, which they do by themselves.
import { mkdir, rm } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import type { Run } from '../../lib/exec.ts';
import { socketDirectoryOf } from '../../lib/socket-directory.ts';
import type { Connection, ExportSpec, Initiator } from './driver.ts';
import { startAtPort } from './export-port.ts';
import { ExportServers, type ExportProgram } from './export-servers.ts';
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
const [targetNumber, lun] = [1, 1];
/** Of one disk: its guest has one queue. */
const threads = 4;

/** It writes no pid file in the foreground; the name of it is what tells its processes apart. */
const tgtd: ExportProgram = { name: 'tgtd', package: 'tgt', probeArgs: ['--version'], markName: 'pid', holds: true };

type IscsiConnection = Extract<Connection, { protocol: 'iscsi' }>;

export const createIscsiExporter = (options: IscsiOptions): VolumeExporter => new IscsiExporter(options);

class IscsiExporter implements VolumeExporter {
  readonly info: ExporterInfo = { name: 'iscsi', remote: true, resizeOnline: true, liveMigration: true, authenticates: true };
  readonly servers: ExportServers;
  readonly #options: IscsiOptions;

  constructor(options: IscsiOptions) {
    this.#options = options;
    this.servers = new ExportServers(tgtd, options);
  }

  probe(): Promise<void> {
    return this.servers.probe();
  }

  async serve(spec: ExportSpec, device: VolumeDevice, { own, others }: ExportPast): Promise<Connection> {
    const { attachmentId, volumeId } = spec;
    const { address, namePrefix } = this.#options;
    if (own !== undefined && own.sizeBytes !== device.sizeBytes) await this.servers.end(attachmentId);
    const port = await this.#ensureServer(attachmentId, own?.connection.protocol === 'iscsi' ? own.connection.port : undefined, others);
    const connection: IscsiConnection = { protocol: 'iscsi', address, port, target: `${namePrefix}:${volumeId}.${attachmentId}`, lun, user: attachmentId };
    await this.#ensureTarget(spec, device, connection);
    this.servers.watch(attachmentId);
    return connection;
  }

  async end(attachmentId: string): Promise<void> {
    await this.servers.end(attachmentId);
    await rm(this.#socketFolder(attachmentId), { recursive: true, force: true });
  }

  async isServed(attachmentId: string): Promise<boolean> {
    return (await this.servers.find(attachmentId)) !== undefined && (await this.#target(attachmentId).catch(() => undefined)) !== undefined;
  }

  #socketFolder(attachmentId: string): string {
    return socketDirectoryOf(this.servers.folderOf(attachmentId));
  }

  #socket(attachmentId: string): string {
    return join(this.#socketFolder(attachmentId), 'tgtd');
  }

  #tell(attachmentId: string, request: TgtRequest): Promise<string> {
    // Control port 0 is the end of the socket's name.
    return tellTgt(`${this.#socket(attachmentId)}.0`, request, { clock: this.#options.clock, timeoutMs: tellMs });
  }

  async #target(attachmentId: string): Promise<TgtTarget | undefined> {
    return parseTgtTarget(await this.#tell(attachmentId, { mode: 'target', operation: 'show' }));
  }

  /** The port of the one that runs; of a new one, that which it had before, or the first that nobody has. */
  async #ensureServer(attachmentId: string, known: number | undefined, others: readonly Connection[]): Promise<number> {
    const running = await this.servers.resume(attachmentId);
    const runningPort = Number(/:(\d+)$/.exec(running?.args.find((arg) => arg.startsWith('portal=')) ?? '')?.[1]);
    if (running !== undefined && (known ?? runningPort) === runningPort) return runningPort;
    const { address, firstPort } = this.#options;
    return startAtPort({ address, firstPort, known, others }, (port) => this.#start(attachmentId, port));
  }

  /** False when the port is taken: then it runs on, and serves nobody. */
  async #start(attachmentId: string, port: number): Promise<boolean> {
    await this.servers.clear(attachmentId);
    const folder = this.#socketFolder(attachmentId);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { address } = this.#options;
    const portal = `${isIPv6(address) ? `[${address}]` : address}:${port}`;
    return this.servers.start(attachmentId, {
      args: ['-f', '-t', String(threads), '-p', this.servers.markOf(attachmentId), '--iscsi', `portal=${portal}`],
      env: { TGT_IPC_SOCKET: this.#socket(attachmentId) },
      serves: () => this.#tell(attachmentId, { mode: 'portal', operation: 'show' }).then((portals) => portals.includes(`${portal},`), () => undefined),
    });
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
