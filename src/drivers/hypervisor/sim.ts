// A hypervisor in memory: domains with a boot delay, console text, events, and failures on demand. For specs, for trials without
// a hypervisor, and for simulating thousands of hosts. Its world lives apart from the driver, as real guests outlive novact.
import { copyFile } from 'node:fs/promises';
import type { Clock, Timer } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import {
  consoleBytesMax, type DiskCopier, type DiskCopy, type DiskStatus, type DomainDisk, type DomainSpec, type DomainState, type DomainStatus, type HostCapacity,
  type HypervisorDriver, type HypervisorEvent, type HypervisorInfo, type LiveMigrator, type LiveMove,
} from './driver.ts';

export interface SimOptions {
  readonly clock: Clock;
  /** Hand the same world to the next driver, and its guests are there again. Default: a new one. */
  readonly world?: SimWorld;
  readonly capacity?: HostCapacity;
  /** From the start to the last line of the boot. */
  readonly bootDelayMs?: number;
  /** From the wish to the power-off. */
  readonly shutdownDelayMs?: number;
  /** The text of the failure when starting this domain is to fail. */
  readonly failSpawnOn?: (spec: DomainSpec) => string | undefined;
  /** The text of the failure when this disk is to be refused. */
  readonly failAttachOn?: (instanceId: string, disk: DomainDisk) => string | undefined;
  /** Guests that do not let go of a disk. */
  readonly holdsDisk?: (instanceId: string, serial: string) => boolean;
  /** Guests that ignore wishes: neither power off nor reboot. */
  readonly deaf?: (instanceId: string) => boolean;
  /** The machines that guests can be moved to while they run, by URI. */
  readonly peers?: (uri: string) => SimWorld | undefined;
  /** Copies a file of a disk. Default: as the host's file system does. */
  readonly copyFile?: (from: string, to: string) => Promise<void>;
  /** How long such a move takes. */
  readonly migrateDelayMs?: number;
}

export interface SimDomain {
  spec: DomainSpec;
  state: DomainState;
  reason: DomainStatus['reason'];
  console: Buffer;
  timers: Timer[];
  /** What the running guest has; `spec.disks` is what it has from its next start. */
  plugged: readonly DomainDisk[];
  /** By serial: what the guest was told. */
  readonly diskBytes: Map<string, number>;
}

const bootDelayMsDefault = 200;
const shutdownDelayMsDefault = 100;
const migrateDelayMsDefault = 100;
const capacityDefault: HostCapacity = { cores: 16, memoryMiB: 65_536 };

/** The machine under the sim driver. Specs do to it what happens behind novact's back. */
export class SimWorld {
  readonly domains = new Map<string, SimDomain>();
  readonly listeners = new Set<(event: HypervisorEvent) => void>();
  /** Guests on their way to another machine: as with real daemons, the move goes on without the process that asked for it. */
  readonly moves = new Map<string, { readonly cancelled: AbortController; readonly over: Promise<void> }>();
  #reachable = true;

  get reachable(): boolean {
    return this.#reachable;
  }

  /** The guest powers itself off. */
  powerOff(instanceId: string): void {
    this.end(instanceId, 'shutoff', 'guest');
  }

  /** Somebody with other tools destroys it. */
  destroy(instanceId: string): void {
    this.end(instanceId, 'shutoff', 'destroyed');
  }

  /** The emulator dies. */
  crash(instanceId: string): void {
    this.end(instanceId, 'shutoff', 'failed');
  }

  /** The daemon goes away; guests go on, calls fail, events of this time are lost. */
  disconnect(): void {
    this.emit({ type: 'disconnected', error: 'the simulated daemon went away' });
    this.#reachable = false;
  }

  reconnect(): void {
    this.#reachable = true;
    this.emit({ type: 'connected' });
  }

  write(instanceId: string, text: string): void {
    const domain = this.domains.get(instanceId);
    if (domain !== undefined) domain.console = Buffer.concat([domain.console, Buffer.from(text)]).subarray(-consoleBytesMax);
  }

  end(instanceId: string, state: DomainState, reason: DomainStatus['reason']): void {
    const domain = this.domains.get(instanceId);
    if (domain === undefined || domain.state === 'shutoff') return;
    for (const timer of domain.timers.splice(0)) timer.cancel();
    domain.state = state;
    domain.reason = reason;
    domain.plugged = [];
    this.emit({ type: 'domain', instanceId });
  }

  emit(event: HypervisorEvent): void {
    if (this.#reachable) for (const listener of this.listeners) listener(event);
  }
}

export function createSimHypervisor(options: SimOptions): HypervisorDriver {
  return new SimHypervisor(options);
}

class SimHypervisor implements HypervisorDriver {
  readonly info: HypervisorInfo = {
    name: 'sim', kind: 'sim', bootsKernels: true, notice: 'sim: guests exist in memory only; nothing boots',
    liveMigration: true, liveMigrationNotice: undefined,
  };
  readonly migrator: LiveMigrator = {
    prepareIncoming: async () => this.#check('prepare for a guest'),
    migrate: (move, signal) => this.#migrate(move, signal),
    cancel: async (instanceId) => {
      const under = this.#world.moves.get(instanceId);
      under?.cancelled.abort();
      await under?.over.catch(() => undefined); // whoever asked for it is told
    },
  };
  readonly copier: DiskCopier = { copyDisk: (copy) => this.#copyDisk(copy) };
  readonly #options: SimOptions;
  readonly #world: SimWorld;
  readonly #own = new Set<(event: HypervisorEvent) => void>();
  #closed = false;

  constructor(options: SimOptions) {
    this.#options = options;
    this.#world = options.world ?? new SimWorld();
  }

  async capacity(): Promise<HostCapacity> {
    this.#check('read the capacity');
    return this.#options.capacity ?? capacityDefault;
  }

  async list(cloudId: string): Promise<readonly DomainStatus[]> {
    this.#check('list domains');
    return [...this.#world.domains.values()].filter((domain) => domain.spec.cloudId === cloudId).map(statusOf);
  }

  async status(instanceId: string): Promise<DomainStatus> {
    return statusOf(this.#domain(instanceId, 'read the status of'));
  }

  async ensureDefined(spec: DomainSpec): Promise<void> {
    this.#check(`define ${spec.instanceId}`);
    const known = this.#world.domains.get(spec.instanceId);
    if (known !== undefined) known.spec = spec;
    else {
      const console = Buffer.alloc(0);
      this.#world.domains.set(spec.instanceId, { spec, state: 'shutoff', reason: 'unknown', console, timers: [], plugged: [], diskBytes: new Map() });
    }
    this.#world.emit({ type: 'domain', instanceId: spec.instanceId });
  }

  async ensureRunning(instanceId: string): Promise<void> {
    const domain = this.#domain(instanceId, 'start');
    if (domain.state === 'running') return;
    const problem = this.#options.failSpawnOn?.(domain.spec);
    if (problem !== undefined) throw new DriverError('failed', `start ${instanceId}: ${problem}`);
    domain.state = 'running';
    domain.reason = 'unknown';
    domain.plugged = domain.spec.disks;
    this.#boot(domain);
    this.#world.emit({ type: 'domain', instanceId });
  }

  async requestShutdown(instanceId: string): Promise<void> {
    const domain = this.#domain(instanceId, 'shut down');
    if (domain.state !== 'running' || this.#options.deaf?.(instanceId)) return;
    this.#later(domain, this.#options.shutdownDelayMs ?? shutdownDelayMsDefault, () => {
      this.#world.write(instanceId, 'sim: power button\r\nsim: down\r\n');
      this.#world.powerOff(instanceId);
    });
  }

  async ensureStopped(instanceId: string): Promise<void> {
    this.#check(`stop ${instanceId}`);
    this.#world.destroy(instanceId);
  }

  async reboot(instanceId: string, { force }: { force: boolean }): Promise<void> {
    const domain = this.#domain(instanceId, 'reboot');
    if (domain.state !== 'running') throw new DriverError('busy', `reboot ${instanceId}: it is not running`);
    if (!force && this.#options.deaf?.(instanceId)) return;
    const again = () => {
      for (const timer of domain.timers.splice(0)) timer.cancel();
      this.#boot(domain);
      this.#world.emit({ type: 'rebooted', instanceId });
    };
    if (force) again();
    else this.#later(domain, this.#options.shutdownDelayMs ?? shutdownDelayMsDefault, again);
  }

  async ensureAbsent(instanceId: string): Promise<void> {
    this.#check(`remove ${instanceId}`);
    if (!this.#world.domains.has(instanceId)) return;
    this.#world.destroy(instanceId);
    this.#world.domains.delete(instanceId);
    this.#world.emit({ type: 'domain', instanceId });
  }

  async disks(instanceId: string): Promise<readonly DiskStatus[]> {
    const { spec, plugged } = this.#domain(instanceId, 'list the disks of');
    const all = new Map([...spec.disks, ...plugged].map((disk) => [disk.serial, disk]));
    const has = (disks: readonly DomainDisk[], serial: string) => disks.some((disk) => disk.serial === serial);
    return [...all.values()]
      .map(({ target, serial }) => ({ target, serial, isPlugged: has(plugged, serial), isDefined: has(spec.disks, serial) }))
      .toSorted((a, b) => a.target.localeCompare(b.target));
  }

  async attachDisk(instanceId: string, disk: DomainDisk): Promise<void> {
    const domain = this.#domain(instanceId, `attach ${disk.serial} to`);
    const known = [...domain.spec.disks, ...domain.plugged];
    if (known.some(({ target, serial }) => target === disk.target && serial !== disk.serial)) {
      throw new DriverError('busy', `attach ${disk.serial} to ${instanceId}: ${disk.target} is taken`);
    }
    const problem = this.#options.failAttachOn?.(instanceId, disk);
    if (problem !== undefined) throw new DriverError('failed', `attach ${disk.serial} to ${instanceId}: ${problem}`);
    domain.spec = { ...domain.spec, disks: withDisk(domain.spec.disks, disk) };
    if (domain.state === 'running') domain.plugged = withDisk(domain.plugged, disk);
    this.#world.emit({ type: 'domain', instanceId });
  }

  async detachDisk(instanceId: string, serial: string, { force }: { force: boolean }): Promise<void> {
    this.#check(`detach ${serial} from ${instanceId}`);
    const domain = this.#world.domains.get(instanceId);
    if (domain === undefined) return;
    const isHeld = domain.plugged.some((disk) => disk.serial === serial) && this.#options.holdsDisk?.(instanceId, serial) === true;
    if (isHeld && !force) throw new DriverError('busy', `detach ${serial} from ${instanceId}: the guest does not let go of it`);
    domain.spec = { ...domain.spec, disks: domain.spec.disks.filter((disk) => disk.serial !== serial) };
    domain.plugged = domain.plugged.filter((disk) => disk.serial !== serial);
    this.#world.emit({ type: 'domain', instanceId });
  }

  async resizeDisk(instanceId: string, serial: string, sizeBytes: number): Promise<void> {
    const domain = this.#domain(instanceId, `resize ${serial} of`);
    if (![...domain.spec.disks, ...domain.plugged].some((disk) => disk.serial === serial)) {
      throw new DriverError('notFound', `resize ${serial} of ${instanceId}: no such disk`);
    }
    domain.diskBytes.set(serial, sizeBytes);
  }

  async console({ instanceId }: { instanceId: string }): Promise<Buffer> {
    return this.#world.domains.get(instanceId)?.console ?? Buffer.alloc(0);
  }

  /** The console here never holds more than its bound. */
  async trimConsole(): Promise<void> {}

  subscribe(listener: (event: HypervisorEvent) => void): () => void {
    this.#own.add(listener);
    this.#world.listeners.add(listener);
    return () => {
      this.#own.delete(listener);
      this.#world.listeners.delete(listener);
    };
  }

  /** The world goes on. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const listener of this.#own) this.#world.listeners.delete(listener);
  }

  async #migrate(move: LiveMove, signal: AbortSignal): Promise<void> {
    const { instanceId } = move;
    this.#domain(instanceId, 'migrate');
    let under = this.#world.moves.get(instanceId);
    if (under === undefined) {
      const cancelled = new AbortController();
      under = { cancelled, over: this.#goOver(move, cancelled.signal).finally(() => this.#world.moves.delete(instanceId)) };
      this.#world.moves.set(instanceId, under);
    }
    const cancel = () => under.cancelled.abort();
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      await under.over;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  /** Until the last moment it runs here; then, in one step, there. */
  async #goOver({ instanceId, uri, timeoutMs, onProgress }: LiveMove, cancelled: AbortSignal): Promise<void> {
    const delayMs = this.#options.migrateDelayMs ?? migrateDelayMsDefault;
    onProgress({ bytesTotal: 1, bytesLeft: 1 });
    await this.#options.clock.sleep(Math.min(delayMs, timeoutMs), cancelled).catch((cause: unknown) => {
      throw new DriverError('failed', `migrate ${instanceId}: cancelled`, { cause });
    });
    if (delayMs > timeoutMs) throw new DriverError('timeout', `migrate ${instanceId}: not done after ${timeoutMs} ms`);
    const domain = this.#world.domains.get(instanceId);
    if (domain?.state !== 'running') throw new DriverError('busy', `migrate ${instanceId}: it is not running`);
    const peer = this.#options.peers?.(uri);
    if (peer === undefined || !peer.reachable) throw new DriverError('failed', `migrate ${instanceId}: nobody answers at ${uri}`);
    for (const timer of domain.timers.splice(0)) timer.cancel();
    this.#world.domains.delete(instanceId);
    peer.domains.set(instanceId, domain);
    this.#world.emit({ type: 'domain', instanceId });
    peer.emit({ type: 'domain', instanceId });
  }

  /** Its guests write nothing: a copy of the file is one of any moment. */
  async #copyDisk({ instanceId, target, path }: DiskCopy): Promise<void> {
    const domain = this.#domain(instanceId, `copy ${target} of`);
    if (domain.state !== 'running') throw new DriverError('busy', `copy ${target} of ${instanceId}: it is not running`);
    const source = domain.plugged.find((disk) => disk.target === target)?.source;
    if (source?.type !== 'file') throw new DriverError('notFound', `copy ${target} of ${instanceId}: it has no file of that name`);
    await (this.#options.copyFile ?? copyFile)(source.path, path);
  }

  #boot(domain: SimDomain): void {
    const { instanceId } = domain.spec;
    this.#world.write(instanceId, `sim: ${instanceId} boots\r\n`);
    this.#later(domain, this.#options.bootDelayMs ?? bootDelayMsDefault, () => this.#world.write(instanceId, `sim: ${instanceId} is ready\r\n`));
  }

  #later(domain: SimDomain, delayMs: number, action: () => void): void {
    domain.timers.push(this.#options.clock.after(delayMs, action, { unref: true }));
  }

  #domain(instanceId: string, attempted: string): SimDomain {
    this.#check(`${attempted} ${instanceId}`);
    const domain = this.#world.domains.get(instanceId);
    if (domain === undefined) throw new DriverError('notFound', `${attempted} ${instanceId}: no such domain`);
    return domain;
  }

  #check(attempted: string): void {
    if (this.#closed) throw new DriverError('failed', `${attempted}: the hypervisor driver is closed`);
    if (!this.#world.reachable) throw new DriverError('timeout', `${attempted}: the simulated daemon is not reachable`);
  }
}

const withDisk = (disks: readonly DomainDisk[], disk: DomainDisk): readonly DomainDisk[] =>
  disks.some(({ serial }) => serial === disk.serial) ? disks : [...disks, disk];

function statusOf(domain: SimDomain): DomainStatus {
  return { instanceId: domain.spec.instanceId, state: domain.state, reason: domain.reason };
}
