// Real guests through libvirt: QEMU under KVM or TCG, LXC containers, Xen. Every method ensures a state, is repeated when libvirtd
// goes away meanwhile, and has a deadline. libvirt itself is the truth about domains; nothing is remembered here that it would forget.
import { mkdir } from 'node:fs/promises';
import { totalmem } from 'node:os';
import type { Clock } from '../../../lib/clock.ts';
import { DriverError, messageOf } from '../../../lib/errors.ts';
import type { Log } from '../../../lib/log.ts';
import type {
  DiskCopier, DiskStatus, DomainDisk, DomainSpec, DomainStatus, HostCapacity, HypervisorDriver, HypervisorEvent, HypervisorInfo, LiveMigrator,
} from '../driver.ts';
import { AskedOnce } from './asked-once.ts';
import { ConsoleRecorder, parseMetadata } from './console-recorder.ts';
import { readConsole, trimConsole } from './console.ts';
import { createCopier } from './copy-disk.ts';
import { DomainDisks } from './domain-disks.ts';
import { isUp, toStatus } from './domain-status.ts';
import { createMigrator } from './migrate.ts';
import { probeKvm } from './probe.ts';
import {
  askBy, create, defineXml, destroy, domainStates, getMemory, getMemoryStats, getMetadata, getState, libvirtCodes, lifecycleChanges, listAll, lookupByName,
  nodeInfo, reboot, reset, resume, shutdown, undefine,
} from './procedures.ts';
import { RestartWatch } from './restarts.ts';
import { LibvirtError, type RpcEvent } from './rpc.ts';
import { Session, type Calls } from './session.ts';
import { unless } from './unless.ts';
import { parseLibvirtUri, type LibvirtUri } from './uri.ts';
import { whenFree } from './when-free.ts';
import { domainXml, metadataNamespace } from './xml.ts';
import type { DomainHandle } from './xdr.ts';

export interface LibvirtOptions {
  /** `qemu:///system`, `lxc:///system`, `xen:///system`, `qemu:///session`, each also with `?socket=/path`. */
  readonly uri: string;
  /** Where the daemon listens, when not at its usual place. */
  readonly socket?: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Where the result of the KVM probe is kept. */
  readonly stateDirectory: string;
  /** `auto`: KVM when a probe guest boots under it. */
  readonly accelerator?: 'auto' | 'kvm' | 'tcg';
  readonly probeTimeoutMs?: number;
  /** The kernel that the probe guest boots. Default: the host's own. */
  readonly probeKernelPath?: string | undefined;
  readonly connectTimeoutMs?: number;
}

/**
 * Under Xen, a domain that restarts is read when libvirt has done with it, or has waited half a minute for that; one that was asked for something,
 * when it has answered, or has not for a minute.
 * Starting a domain includes libvirt's look at a QEMU it does not know yet, which takes seconds; stopping waits for a busy QEMU, or for a start.
 */
const deadlinesMs = { read: 10_000, readUnderXen: 75_000, define: 30_000, start: 90_000, stop: 90_000, ask: 15_000, askUnderXen: 75_000 } as const;
/** A call of those that stop a guest is asked again after so long without an answer: longer than libvirt itself waits for a guest that is busy. */
const stopCallMs = 40_000;
const connectTimeoutMsDefault = 10_000;
const probeTimeoutMsDefault = 10_000;

/** Why some guests stay where they are while they run. */
const noMigration: Record<'lxc' | 'xen' | 'qemu', string> = {
  lxc: 'a running container lives in its host\'s kernel, and libvirt cannot move it',
  xen: 'moving running Xen guests is not built yet',
  qemu: '',
};

/** Xen's own name for the domain that we run in. */
const firstXenDomain = 'Domain-0';

/** QEMU domains may have more to forget than their XML; the LXC driver knows no such flags. Managed save, snapshots, NVRAM. */
const undefineEverything = 1 | 2 | 4;

/** How long a guest that has just powered off may need until its emulator is gone. */
const endingMs = { max: 15_000, poll: 100 } as const;

/** Waits for the daemon and, for QEMU, for the KVM probe. Throws DriverError `timeout` that names the socket when nobody is there. */
export async function createLibvirtHypervisor(options: LibvirtOptions): Promise<HypervisorDriver> {
  const driver = new LibvirtHypervisor(options, parseLibvirtUri(options.uri, options.socket));
  try {
    await driver.open();
    return driver;
  } catch (error) {
    await driver.close();
    throw error;
  }
}

class LibvirtHypervisor implements HypervisorDriver {
  readonly #options: LibvirtOptions;
  readonly #uri: LibvirtUri;
  readonly #session: Session;
  readonly #recorder: ConsoleRecorder | undefined;
  readonly #disks: DomainDisks;
  /** For Xen, which has no event of its own for it. */
  readonly #restarts: RestartWatch | undefined;
  /** For Xen. */
  readonly #askedOnce: AskedOnce | undefined;
  readonly #listeners = new Set<(event: HypervisorEvent) => void>();
  /** By uuid. A domain's cloud changes only by a new definition, which is an event. */
  readonly #clouds = new Map<string, string>();
  readonly migrator: LiveMigrator | undefined;
  readonly copier: DiskCopier | undefined;
  #info: HypervisorInfo;

  constructor(options: LibvirtOptions, uri: LibvirtUri) {
    this.#options = options;
    this.#uri = uri;
    const liveMigration = uri.kind === 'qemu';
    this.#info = {
      name: 'libvirt', kind: uri.kind, bootsKernels: uri.kind !== 'lxc', notice: undefined,
      liveMigration, liveMigrationNotice: liveMigration ? undefined : noMigration[uri.kind],
    };
    this.#restarts = uri.kind === 'xen' ? new RestartWatch() : undefined;
    this.#askedOnce = uri.kind === 'xen' ? new AskedOnce() : undefined;
    const reached = { uri, log: options.log, clock: options.clock, connectTimeoutMs: options.connectTimeoutMs ?? connectTimeoutMsDefault };
    this.#recorder = uri.kind === 'qemu' ? undefined : new ConsoleRecorder(reached);
    this.#session = new Session({
      ...reached,
      onEvent: (event) => this.#onEvent(event),
      onConnected: () => this.#onConnected(),
      onDisconnected: (error) => this.#emit({ type: 'disconnected', error: error.message }),
    });
    this.#disks = new DomainDisks({ kind: uri.kind, session: this.#session, clock: options.clock, log: options.log });
    const tools = { uri, session: this.#session, clock: options.clock, log: options.log, disks: this.#disks };
    this.migrator = liveMigration ? createMigrator(tools) : undefined;
    this.copier = uri.kind === 'qemu' ? createCopier(tools) : undefined;
  }

  get info(): HypervisorInfo {
    return this.#info;
  }

  async open(): Promise<void> {
    const { clock, log, stateDirectory, probeKernelPath, accelerator = 'auto' } = this.#options;
    await this.#session.run('open the hypervisor', this.#options.connectTimeoutMs ?? connectTimeoutMsDefault, (calls) => calls.call(nodeInfo()));
    if (this.#uri.kind === 'xen') this.#info = { ...this.#info, notice: await this.#xenNotice() };
    if (this.#uri.kind !== 'qemu') return;
    await mkdir(stateDirectory, { recursive: true });
    const timeoutMs = this.#options.probeTimeoutMs ?? probeTimeoutMsDefault;
    const result =
      accelerator === 'auto'
        ? await probeKvm({ session: this.#session, clock, log, stateDirectory, timeoutMs, kernelPath: probeKernelPath })
        : { kind: accelerator === 'kvm' ? ('kvm' as const) : ('qemu' as const), notice: accelerator === 'kvm' ? undefined : 'TCG, slow emulation: chosen' };
    this.#info = { ...this.#info, kind: result.kind, notice: result.notice };
  }

  async #xenNotice(): Promise<string | undefined> {
    const { memoryMiB } = await this.capacity();
    if (memoryMiB > 0) return undefined;
    return 'Xen\'s first domain may take all memory, and guests get none: start Xen with dom0_mem=4096M,max:4096M, or what this host needs for itself';
  }

  async capacity(): Promise<HostCapacity> {
    return this.#session.run('read the capacity', deadlinesMs.read, async (calls) => {
      const { cores, memoryKiB } = await calls.call(nodeInfo());
      // libvirt counts the memory of NUMA nodes, which is not all of it on some hosts. Behind a unix socket the daemon's host is ours.
      if (this.#uri.kind !== 'xen') return { cores, memoryMiB: Math.floor(totalmem() / 1024 / 1024) };
      // What we see of memory is the first domain's own. What that one may take is nobody else's.
      const { maxKiB } = await calls.call(getMemory(await calls.call(lookupByName(firstXenDomain))));
      return { cores, memoryMiB: Math.max(0, Math.floor((memoryKiB - maxKiB) / 1024)) };
    });
  }

  list(cloudId: string): Promise<readonly DomainStatus[]> {
    return this.#session.run('list domains', this.#readMs, async (calls) => {
      const domains = await calls.call(listAll());
      this.#forgetOthers(domains);
      const found = await Promise.all(domains.map((domain) => this.#statusIn(calls, domain, cloudId)));
      return found.filter((status) => status !== undefined);
    });
  }

  status(instanceId: string): Promise<DomainStatus> {
    return this.#session.run(`read the status of ${instanceId}`, this.#readMs, async (calls) => {
      const domain = await calls.call(lookupByName(instanceId));
      return toStatus(instanceId, await this.#stateOf(calls, domain));
    });
  }

  async ensureDefined(spec: DomainSpec): Promise<void> {
    const xml = domainXml(spec, this.#info.kind === 'sim' ? 'qemu' : this.#info.kind);
    await mkdir(spec.directory, { recursive: true });
    await this.#session.run(`define ${spec.instanceId}`, deadlinesMs.define, async (calls) => {
      await this.#disks.prepare(calls, spec.disks);
      await calls.call(defineXml(xml));
    });
  }

  async ensureRunning(instanceId: string): Promise<void> {
    await this.#session.run(`start ${instanceId}`, deadlinesMs.start, async (calls) => {
      const domain = await calls.call(lookupByName(instanceId));
      const state = await this.#settledState(calls, domain);
      if (state === domainStates.paused || state === domainStates.suspended) return calls.call(resume(domain));
      if (isUp(state)) return;
      if (state === domainStates.crashed) await unless(whenFree(() => calls.call(destroy(domain))), libvirtCodes.operationInvalid);
      // Somebody else may have started it in between: that is what was wanted.
      await unless(whenFree(() => calls.call(create(domain))), libvirtCodes.operationInvalid);
    });
    await this.#recorder?.record(instanceId);
  }

  async requestShutdown(instanceId: string): Promise<void> {
    const timeoutMs = this.#uri.kind === 'xen' ? deadlinesMs.askUnderXen : deadlinesMs.ask;
    await this.#session.run(`shut down ${instanceId}`, timeoutMs, async (calls) => {
      const domain = await calls.call(lookupByName(instanceId));
      await unless(this.#ask(domain, () => calls.call(shutdown(domain, this.#askBy()))), libvirtCodes.operationInvalid, ...this.#deafCodes);
    });
  }

  async ensureStopped(instanceId: string): Promise<void> {
    await this.#session.run(`stop ${instanceId}`, deadlinesMs.stop, async (calls) => {
      const domain = await this.#find(calls, instanceId);
      if (domain !== undefined) await unless(whenFree(() => calls.call(destroy(domain))), libvirtCodes.operationInvalid, libvirtCodes.noDomain);
    }, { callMs: stopCallMs });
  }

  async reboot(instanceId: string, options: { force: boolean }): Promise<void> {
    await this.#session.run(`reboot ${instanceId}`, deadlinesMs.start, async (calls) => {
      const domain = await calls.call(lookupByName(instanceId));
      const { state } = await this.#stateOf(calls, domain);
      if (!isUp(state)) throw new DriverError('busy', `reboot ${instanceId}: it is not running`);
      const ask = () => asked(unless(this.#ask(domain, () => calls.call(reboot(domain, this.#askBy()))), ...this.#deafCodes));
      if (options.force || !(await ask())) await this.#rebootByForce(calls, domain);
    });
    await this.#recorder?.record(instanceId);
  }

  async ensureAbsent(instanceId: string): Promise<void> {
    await this.#session.run(`remove ${instanceId}`, deadlinesMs.stop, async (calls) => {
      const domain = await this.#find(calls, instanceId);
      if (domain === undefined) return;
      await unless(whenFree(() => calls.call(destroy(domain))), libvirtCodes.operationInvalid, libvirtCodes.noDomain);
      if (this.#uri.kind === 'qemu') await this.#disks.forget(calls, await this.#disks.secretsOf(calls, domain));
      const flags = this.#uri.kind === 'qemu' ? undefineEverything : 0;
      await unless(calls.call(undefine(domain, flags)), libvirtCodes.noDomain);
    }, { callMs: stopCallMs });
  }

  disks(instanceId: string): Promise<readonly DiskStatus[]> {
    return this.#disks.list(instanceId);
  }

  async attachDisk(instanceId: string, disk: DomainDisk): Promise<void> {
    this.#mustPlug(`attach ${disk.serial} to ${instanceId}`);
    await this.#disks.attach(instanceId, disk);
  }

  async detachDisk(instanceId: string, serial: string, options: { force: boolean }): Promise<void> {
    this.#mustPlug(`detach ${serial} from ${instanceId}`);
    await this.#disks.detach(instanceId, serial, options);
  }

  resizeDisk(instanceId: string, serial: string, sizeBytes: number): Promise<void> {
    return this.#disks.resize(instanceId, serial, sizeBytes);
  }

  console(spec: { instanceId: string; directory: string }): Promise<Buffer> {
    return readConsole(spec.directory);
  }

  trimConsole(spec: { instanceId: string; directory: string }): Promise<void> {
    return trimConsole(spec.directory);
  }

  subscribe(listener: (event: HypervisorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    await Promise.all([this.#session.close(), this.#recorder?.close()]);
  }

  #onEvent(event: RpcEvent): void {
    this.#clouds.delete(event.domain.uuid.toString('hex'));
    if (event.kind === 'lifecycle' && event.change === lifecycleChanges.undefined) this.#askedOnce?.forget(event.domain.name);
    if (event.kind === 'deviceRemoved' || event.kind === 'deviceRemovalFailed') this.#disks.wake(event.domain.name);
    if (this.#recorder !== undefined && event.domain.id >= 0) void this.#recorder.record(event.domain.name);
    const isReboot = event.kind === 'reboot' || this.#restarts?.isRestart(event) === true;
    this.#emit({ type: isReboot ? 'rebooted' : 'domain', instanceId: event.domain.name });
  }

  #onConnected(): void {
    this.#clouds.clear();
    this.#emit({ type: 'connected' });
  }

  #emit(event: HypervisorEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#options.log.error({ error: messageOf(error), event: event.type }, 'a listener of the hypervisor failed');
      }
    }
  }

  /** Undefined for domains of others, and for one that vanished while we looked. */
  async #statusIn(calls: Calls, domain: DomainHandle, cloudId: string): Promise<DomainStatus | undefined> {
    try {
      if ((await this.#cloudOf(calls, domain)) !== cloudId) return undefined;
      return toStatus(domain.name, await this.#stateOf(calls, domain));
    } catch (error) {
      if (error instanceof LibvirtError && error.code === libvirtCodes.noDomain) return undefined;
      throw error;
    }
  }

  get #readMs(): number {
    return this.#uri.kind === 'xen' ? deadlinesMs.readUnderXen : deadlinesMs.read;
  }

  /** A guest that restarts under Xen counts as shut off until it is made anew, all under its domain's lock: what needs that lock comes after it. */
  async #stateOf(calls: Calls, domain: DomainHandle): Promise<{ state: number; reason: number }> {
    const seen = await calls.call(getState(domain));
    if (this.#uri.kind !== 'xen' || toStatus(domain.name, seen).reason !== 'guest') return seen;
    await unless(whenFree(() => calls.call(getMemoryStats(domain))), libvirtCodes.operationInvalid);
    return calls.call(getState(domain));
  }

  async #cloudOf(calls: Calls, domain: DomainHandle): Promise<string> {
    const key = domain.uuid.toString('hex');
    const known = this.#clouds.get(key);
    if (known !== undefined) return known;
    const xml = await calls.call(getMetadata(domain, metadataNamespace)).catch((error: unknown) => {
      if (error instanceof LibvirtError && error.code === libvirtCodes.noMetadata) return '';
      throw error;
    });
    const { cloudId } = parseMetadata(xml);
    this.#clouds.set(key, cloudId);
    return cloudId;
  }

  #forgetOthers(domains: readonly DomainHandle[]): void {
    const present = new Set(domains.map((domain) => domain.uuid.toString('hex')));
    for (const key of this.#clouds.keys()) if (!present.has(key)) this.#clouds.delete(key);
  }

  async #find(calls: Calls, instanceId: string): Promise<DomainHandle | undefined> {
    return unless(calls.call(lookupByName(instanceId)), libvirtCodes.noDomain);
  }

  #ask(domain: DomainHandle, wish: () => Promise<void>): Promise<void> {
    return this.#askedOnce === undefined ? wish() : this.#askedOnce.ask(domain, wish);
  }

  /** libvirt's first choice for containers is a pipe that only SysV init reads; it reports success when nobody does. */
  #askBy(): number {
    return this.#uri.kind === 'lxc' ? askBy.signal : askBy.anyWay;
  }

  /** Xen only says that it failed to ask a guest that goes down or comes up just now: it does what was wished, or will be asked again. */
  get #deafCodes(): readonly number[] {
    return this.#uri.kind === 'xen' ? [libvirtCodes.internalError] : [];
  }

  #mustPlug(attempted: string): void {
    if (this.#uri.kind === 'lxc') throw new DriverError('unsupported', `${attempted}: containers have no disks`);
  }

  /** A guest that has powered off is not yet gone for libvirt: starting it in that moment would do nothing. */
  async #settledState(calls: Calls, domain: DomainHandle): Promise<number> {
    const until = this.#options.clock.now() + endingMs.max;
    for (;;) {
      const { state } = await calls.call(getState(domain));
      if (state !== domainStates.shutdown || this.#options.clock.now() >= until) return state;
      await this.#options.clock.sleep(endingMs.poll);
    }
  }

  async #rebootByForce(calls: Calls, domain: DomainHandle): Promise<void> {
    if (this.#uri.kind === 'qemu') return calls.call(reset(domain));
    await unless(whenFree(() => calls.call(destroy(domain))), libvirtCodes.operationInvalid);
    await unless(whenFree(() => calls.call(create(domain))), libvirtCodes.operationInvalid);
    this.#emit({ type: 'rebooted', instanceId: domain.name });
  }
}

/** False when this guest cannot be asked: its hypervisor has no way to. */
async function asked(request: Promise<unknown>): Promise<boolean> {
  const cannot = [libvirtCodes.noSupport, libvirtCodes.operationUnsupported, libvirtCodes.argumentUnsupported, libvirtCodes.configUnsupported] as const;
  try {
    await request;
    return true;
  } catch (error) {
    if (error instanceof LibvirtError && cannot.some((code) => code === error.code)) return false;
    throw error;
  }
}
