// Disks that come to a domain and go from it while it runs. The running guest and the definition are changed together; a guest lets go of a disk when it
// likes, and says so by an event. Secrets that open disks are given to libvirt before, and taken from it after.
import type { Clock } from '../../../lib/clock.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { Log } from '../../../lib/log.ts';
import type { DiskStatus, DomainDisk } from '../driver.ts';
import { cutDisk } from './cut-disk.ts';
import { parseDisks, qemuDiskXml, secretUuid, secretXml, xenDiskXml, type FoundDisk } from './disk-xml.ts';
import {
  affects, attachDevice, blockResize, detachDevice, domainStates, getState, getXml, libvirtCodes, lookupByName, secretDefine, secretSet, secretUndefine,
  xmlFlags,
} from './procedures.ts';
import { LibvirtError } from './rpc.ts';
import type { Calls, Session } from './session.ts';
import { unless } from './unless.ts';
import type { LibvirtKind } from './uri.ts';
import type { DomainHandle } from './xdr.ts';

export interface DomainDisksOptions {
  readonly kind: LibvirtKind;
  readonly session: Session;
  readonly clock: Clock;
  readonly log: Log;
}

const attachMs = 60_000;
const readMs = 10_000;
const detachMs = { whole: 90_000, letGo: 30_000, letGoForced: 5_000, askAgain: 5_000 } as const;

interface Plugged {
  readonly domain: DomainHandle;
  readonly isUp: boolean;
  readonly defined: readonly FoundDisk[];
  readonly plugged: readonly FoundDisk[];
}

export class DomainDisks {
  readonly #options: DomainDisksOptions;
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(options: DomainDisksOptions) {
    this.#options = options;
  }

  list(instanceId: string): Promise<readonly DiskStatus[]> {
    return this.#options.session.run(`list the disks of ${instanceId}`, readMs, async (calls) => {
      const { defined, plugged } = await this.#read(calls, await calls.call(lookupByName(instanceId)));
      const all = new Map([...defined, ...plugged].map((disk) => [disk.serial, disk]));
      return [...all.values()]
        .map(({ target, serial }) => ({ target, serial, isPlugged: has(plugged, serial), isDefined: has(defined, serial) }))
        .toSorted((a, b) => a.target.localeCompare(b.target));
    });
  }

  async attach(instanceId: string, disk: DomainDisk): Promise<void> {
    const attempted = `attach ${disk.serial} to ${instanceId}`;
    await this.#options.session.run(attempted, attachMs, async (calls) => {
      const { domain, isUp, defined, plugged } = await this.#read(calls, await calls.call(lookupByName(instanceId)));
      const other = [...defined, ...plugged].find(({ target, serial }) => target === disk.target && serial !== disk.serial);
      if (other !== undefined) throw new DriverError('busy', `${attempted}: ${disk.target} is taken by ${other.serial}`);
      if (has(plugged, disk.serial) && !has(defined, disk.serial)) throw new DriverError('busy', `${attempted}: the guest has yet to let go of it`);
      const flags = (has(defined, disk.serial) ? 0 : affects.definition) | (isUp && !has(plugged, disk.serial) ? affects.running : 0);
      const xml = this.#isXen ? xenDiskXml(disk) : qemuDiskXml(disk);
      await this.#giveSecrets(calls, [disk]);
      if (flags === 0) return;
      try {
        await calls.call(attachDevice(domain, xml, flags));
      } catch (error) {
        if (error instanceof LibvirtError && !has(plugged, disk.serial)) await this.#takeSecret(calls, targetOf(disk));
        throw error;
      }
    });
  }

  async detach(instanceId: string, serial: string, { force }: { force: boolean }): Promise<void> {
    const attempted = `detach ${serial} from ${instanceId}`;
    await this.#options.session.run(attempted, detachMs.whole, async (calls) => {
      const domain = await unless(calls.call(lookupByName(instanceId)), libvirtCodes.noDomain);
      if (domain === undefined) return;
      const found = await this.#read(calls, domain);
      if (force) await this.#undefine(calls, domain, serial);
      if (has(found.plugged, serial) && !(await this.#letGo(calls, { domain, serial, timeoutMs: force ? detachMs.letGoForced : detachMs.letGo }))) {
        // libvirt has no way to take a disk from a Xen guest that keeps it: it has it until its next start.
        if (!force || this.#isXen) throw new DriverError('busy', `${attempted}: the guest does not let go of it (is it mounted?)`);
        this.#options.log.warn({ instance: instanceId, serial }, 'a guest does not let go of a disk: it is cut off');
        await cutDisk(calls, domain, serial);
      }
      if (!force) await this.#undefine(calls, domain, serial);
      for (const disk of [...found.defined, ...found.plugged]) if (disk.serial === serial) await this.#takeSecret(calls, disk.secretTarget);
    });
  }

  async resize(instanceId: string, serial: string, sizeBytes: number): Promise<void> {
    const attempted = `resize ${serial} of ${instanceId}`;
    await this.#options.session.run(attempted, attachMs, async (calls) => {
      const { domain, plugged, defined } = await this.#read(calls, await calls.call(lookupByName(instanceId)));
      const disk = plugged.find((one) => one.serial === serial);
      if (disk !== undefined) return calls.call(blockResize(domain, disk.target, sizeBytes));
      if (!has(defined, serial)) throw new DriverError('notFound', `${attempted}: no such disk`);
    });
  }

  /** After: libvirt knows what opens these disks. */
  async prepare(calls: Calls, disks: readonly DomainDisk[]): Promise<void> {
    await this.#giveSecrets(calls, disks);
  }

  /** What the domain's disks are opened with: to be forgotten when the domain has gone. */
  async secretsOf(calls: Calls, domain: DomainHandle): Promise<readonly string[]> {
    const { defined, plugged } = await this.#read(calls, domain);
    return [...new Set([...defined, ...plugged].flatMap(({ secretTarget }) => secretTarget ?? []))];
  }

  /** After: libvirt does not know these any more. */
  async forget(calls: Calls, secrets: readonly string[]): Promise<void> {
    for (const target of secrets) await this.#takeSecret(calls, target);
  }

  /** A guest has let go of something, or refused to. */
  wake(instanceId: string): void {
    for (const wake of this.#waiting.get(instanceId) ?? []) wake();
  }

  get #isXen(): boolean {
    return this.#options.kind === 'xen';
  }

  async #read(calls: Calls, domain: DomainHandle): Promise<Plugged> {
    const { state } = await calls.call(getState(domain));
    const isUp = state !== domainStates.shutoff && state !== domainStates.crashed;
    const defined = parseDisks(await calls.call(getXml(domain, xmlFlags.inactive)));
    return { domain, isUp, defined, plugged: isUp ? parseDisks(await calls.call(getXml(domain, xmlFlags.none))) : [] };
  }

  async #undefine(calls: Calls, domain: DomainHandle, serial: string): Promise<void> {
    const disk = parseDisks(await calls.call(getXml(domain, xmlFlags.inactive))).find((one) => one.serial === serial);
    if (disk !== undefined) await calls.call(detachDevice(domain, disk.xml, affects.definition));
  }

  /** Asks, and asks again: a guest that is just booting hears nothing. True when it has let go. */
  async #letGo(calls: Calls, wish: { domain: DomainHandle; serial: string; timeoutMs: number }): Promise<boolean> {
    const { clock } = this.#options;
    const until = clock.now() + wish.timeoutMs;
    for (;;) {
      const { isUp, plugged } = await this.#read(calls, wish.domain);
      const disk = plugged.find((one) => one.serial === wish.serial);
      if (!isUp || disk === undefined) return true;
      if (clock.now() >= until) return false;
      const woken = this.#change(wish.domain.name, Math.min(detachMs.askAgain, until - clock.now()));
      await this.#ask(calls, wish.domain, disk);
      if (this.#isXen) this.wake(wish.domain.name); // it has waited for the guest itself, and no event comes
      await woken;
    }
  }

  /** That the disk is gone by now, or being unplugged already, is what was wanted. */
  async #ask(calls: Calls, domain: DomainHandle, disk: FoundDisk): Promise<void> {
    try {
      await calls.call(detachDevice(domain, disk.xml, affects.running));
    } catch (error) {
      const isUnderWay = error instanceof LibvirtError && /in the process of unplug|already in progress|libxenlight failed to detach disk/.test(error.message);
      const isGone = error instanceof LibvirtError && (error.code === libvirtCodes.deviceMissing || error.code === libvirtCodes.operationInvalid);
      if (!isUnderWay && !isGone) throw error;
    }
  }

  #change(instanceId: string, timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const all = this.#waiting.get(instanceId) ?? new Set();
      const wake = () => {
        timer.cancel();
        all.delete(wake);
        if (all.size === 0) this.#waiting.delete(instanceId);
        resolve();
      };
      const timer = this.#options.clock.after(timeoutMs, wake);
      this.#waiting.set(instanceId, all.add(wake));
    });
  }

  async #giveSecrets(calls: Calls, disks: readonly DomainDisk[]): Promise<void> {
    for (const { source } of disks) {
      if (source.type !== 'iscsi') continue;
      await calls.call(secretSet(await calls.call(secretDefine(secretXml(source.target))), source.secret.reveal()));
    }
  }

  async #takeSecret(calls: Calls, target: string | undefined): Promise<void> {
    if (target !== undefined) await unless(calls.call(secretUndefine(secretUuid(target), target)), libvirtCodes.noSecret);
  }
}

const has = (disks: readonly FoundDisk[], serial: string): boolean => disks.some((disk) => disk.serial === serial);

const targetOf = ({ source }: DomainDisk): string | undefined => (source.type === 'iscsi' ? source.target : undefined);
