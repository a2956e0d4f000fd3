// What every hypervisor driver must do, as a suite over a factory. It waits for conditions only, so that the same sentences hold
// for guests in memory and for real ones.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { DiskStatus, DomainDisk, DomainSpec, DomainState, HypervisorDriver, HypervisorEvent } from '../../src/drivers/hypervisor/driver.ts';
import { DriverError } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';

export interface HypervisorFixture {
  readonly driver: HypervisorDriver;
  /** A spec that this hypervisor can run; with its folder made. */
  spec(instanceId: string, cloudId: string): Promise<DomainSpec>;
  /** Another driver on the same host, as after a restart of novact. */
  reopen(): Promise<HypervisorDriver>;
  /** What the guest writes once it is up to being asked for things. */
  readonly readyText: string;
  /** Does what it says with other tools than the driver. */
  destroyBehindItsBack(instanceId: string): Promise<void>;
  /** An independent witness: running, shutoff, or undefined for none. */
  witness(instanceId: string): Promise<'running' | 'shutoff' | undefined>;
  /** A disk that its guests can be given, with that target and serial. Undefined: its guests have no disks. */
  readonly disk: ((target: string, serial: string) => Promise<DomainDisk>) | undefined;
  /** The size of the disk in a copy, by other means than the driver. Absent: its guests' disks are not copied while they run. */
  readonly copiedBytes?: (path: string, format: 'qcow2' | 'raw') => Promise<number | undefined>;
  /** The targets that the running guest has, by other means than the driver. */
  plugged(instanceId: string): Promise<readonly string[]>;
  /** How long the slowest guest may take for anything. */
  readonly patienceMs: number;
  close(): Promise<void>;
}

const pollMs = 50;

/** Until the condition holds; its last value in the error otherwise. */
export async function eventually<T>(read: () => Promise<T> | T, holds: (value: T) => boolean, timeoutMs: number, everyMs = pollMs): Promise<T> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    if (Date.now() > until) throw new Error(`not so after ${timeoutMs} ms: ${JSON.stringify(value)?.slice(-600)}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** Registers the suite. */
export function hypervisorContract(name: string, create: () => Promise<HypervisorFixture>): void {
  describe(`hypervisor driver ${name}`, () => {
    let fixture: HypervisorFixture;
    let driver: HypervisorDriver;
    const used: string[] = [];
    const fresh = (): string => {
      const id = newId('i');
      used.push(id);
      return id;
    };
    const define = async (cloudId = 'cloud-one'): Promise<DomainSpec> => {
      const spec = await fixture.spec(fresh(), cloudId);
      await driver.ensureDefined(spec);
      return spec;
    };
    const consoleText = async (spec: DomainSpec): Promise<string> => (await driver.console(spec)).toString('utf8');
    const boots = (spec: DomainSpec, times = 1): Promise<string> =>
      eventually(() => consoleText(spec), (text) => text.split(fixture.readyText).length > times, fixture.patienceMs);
    /** A wish of a guest that may just be on its way down. */
    const ask = (wish: () => Promise<void>): Promise<void> => wish().catch((error: unknown) => {
      if (!(error instanceof DriverError && error.kind === 'busy')) throw error;
    });
    const reaches = (id: string, state: DomainState) => eventually(() => driver.status(id), (status) => status.state === state, fixture.patienceMs);

    beforeAll(async () => {
      fixture = await create();
      driver = fixture.driver;
    });
    afterEach(async () => {
      for (const id of used.splice(0)) await driver.ensureAbsent(id);
    });
    afterAll(async () => fixture?.close());

    it('tells what it is and what the host has', async () => {
      expect(driver.info.name).not.toBe('');
      const { cores, memoryMiB } = await driver.capacity();
      expect(cores).toBeGreaterThan(0);
      expect(memoryMiB).toBeGreaterThan(128);
    });

    it('says notFound of a domain that is not there, where that matters', async () => {
      const id = newId('i');
      await expect(driver.status(id)).rejects.toMatchObject({ kind: 'notFound' });
      await expect(driver.ensureRunning(id)).rejects.toMatchObject({ kind: 'notFound' });
      await expect(driver.requestShutdown(id)).rejects.toMatchObject({ kind: 'notFound' });
      await expect(driver.reboot(id, { force: true })).rejects.toMatchObject({ kind: 'notFound' });
      await expect(driver.ensureStopped(id)).resolves.toBeUndefined();
      await expect(driver.ensureAbsent(id)).resolves.toBeUndefined();
    });

    it('defines a domain without starting it, and defines it again without harm', async () => {
      const spec = await define();
      expect(await driver.status(spec.instanceId)).toMatchObject({ state: 'shutoff' });
      await driver.ensureDefined({ ...spec, memoryMiB: spec.memoryMiB + 32 });
      expect(await fixture.witness(spec.instanceId)).toBe('shutoff');
      expect(await consoleText(spec)).toBe('');
    });

    it('lists the domains of one cloud only', async () => {
      const [first, second] = [await define('cloud-a'), await define('cloud-b')];
      expect((await driver.list('cloud-a')).map((status) => status.instanceId)).toEqual([first.instanceId]);
      expect((await driver.list('cloud-b')).map((status) => status.instanceId)).toEqual([second.instanceId]);
      expect(await driver.list('cloud-c')).toEqual([]);
    });

    it('starts a domain, lets a running one run, and keeps its console after its end', async () => {
      const spec = await define();
      await Promise.all([driver.ensureRunning(spec.instanceId), driver.ensureRunning(spec.instanceId)]);
      await boots(spec);
      await driver.ensureRunning(spec.instanceId);
      await driver.ensureDefined(spec);
      expect(await driver.status(spec.instanceId)).toMatchObject({ state: 'running' });
      expect(await fixture.witness(spec.instanceId)).toBe('running');
      await driver.ensureStopped(spec.instanceId);
      await driver.ensureStopped(spec.instanceId);
      expect(await driver.status(spec.instanceId)).toEqual({ instanceId: spec.instanceId, state: 'shutoff', reason: 'destroyed' });
      expect(await consoleText(spec)).toContain(fixture.readyText);
      await driver.trimConsole(spec);
      expect(await consoleText(spec)).toContain(fixture.readyText);
    });

    it('asks a guest to power off, and shows that it did so itself', async () => {
      const spec = await define();
      await driver.ensureRunning(spec.instanceId);
      await boots(spec);
      // A guest may be up and not listen to its power button yet: the wish is repeated, as a person would.
      const asked = eventually(() => ask(() => driver.requestShutdown(spec.instanceId)), () => over, fixture.patienceMs, 1_000);
      let over = false;
      expect(await reaches(spec.instanceId, 'shutoff').finally(() => (over = true))).toMatchObject({ reason: 'guest' });
      await asked;
      await driver.requestShutdown(spec.instanceId);
      await driver.ensureRunning(spec.instanceId);
      await boots(spec, 2);
    });

    it('reboots a guest that is asked, and by force, and tells when it happened', async () => {
      const spec = await define();
      await expect(driver.reboot(spec.instanceId, { force: false })).rejects.toMatchObject({ kind: 'busy' });
      await driver.ensureRunning(spec.instanceId);
      await boots(spec);
      const events: HypervisorEvent[] = [];
      const unsubscribe = driver.subscribe((event) => events.push(event));
      const reboots = (): number => events.filter((event) => event.type === 'rebooted' && event.instanceId === spec.instanceId).length;
      await eventually(() => ask(() => driver.reboot(spec.instanceId, { force: false })), () => reboots() > 0, fixture.patienceMs, 2_000);
      await boots(spec, 2);
      expect(reboots()).toBeGreaterThanOrEqual(1);
      const before = reboots();
      await driver.reboot(spec.instanceId, { force: true });
      await boots(spec, 3);
      expect(reboots()).toBeGreaterThan(before);
      expect(await driver.status(spec.instanceId)).toMatchObject({ state: 'running' });
      unsubscribe();
    });

    it('sees a domain that was destroyed behind its back, as an event and in its status', async () => {
      const spec = await define();
      await driver.ensureRunning(spec.instanceId);
      const seen = new Promise<void>((resolve) => {
        const unsubscribe = driver.subscribe((event) => {
          if (event.type !== 'domain' || event.instanceId !== spec.instanceId) return;
          unsubscribe();
          resolve();
        });
      });
      await fixture.destroyBehindItsBack(spec.instanceId);
      await seen;
      expect(await reaches(spec.instanceId, 'shutoff')).toMatchObject({ reason: 'destroyed' });
      expect((await driver.list(spec.cloudId)).find((status) => status.instanceId === spec.instanceId)).toMatchObject({ state: 'shutoff' });
    });

    it('removes a running domain, and removes it again', async () => {
      const spec = await define();
      await driver.ensureRunning(spec.instanceId);
      await driver.ensureAbsent(spec.instanceId);
      await driver.ensureAbsent(spec.instanceId);
      expect(await fixture.witness(spec.instanceId)).toBeUndefined();
      await expect(driver.status(spec.instanceId)).rejects.toMatchObject({ kind: 'notFound' });
    });

    it('finds its guests again after a restart of novact', async () => {
      const spec = await define('cloud-adopt');
      await driver.ensureRunning(spec.instanceId);
      const next = await fixture.reopen();
      try {
        expect(await next.list('cloud-adopt')).toEqual([{ instanceId: spec.instanceId, state: 'running', reason: 'unknown' }]);
      } finally {
        await next.close();
      }
      expect(await fixture.witness(spec.instanceId)).toBe('running');
    });

    it('gives a disk to a guest and takes it back, running or not, and says what it has', async () => {
      const spec = await define();
      const { instanceId } = spec;
      if (fixture.disk === undefined) {
        const disk: DomainDisk = { source: { type: 'block', path: '/dev/null' }, target: 'vdb', serial: 'vol1' };
        await expect(driver.attachDisk(instanceId, disk)).rejects.toMatchObject({ kind: 'unsupported' });
        return expect(driver.detachDisk(instanceId, 'vol1', { force: false })).rejects.toMatchObject({ kind: 'unsupported' });
      }
      const added = async (): Promise<readonly DiskStatus[]> => (await driver.disks(instanceId)).filter(({ serial }) => serial.startsWith('vol'));
      const [first, second] = [await fixture.disk('vdb', 'vol1'), await fixture.disk('vdc', 'vol2')];
      await driver.attachDisk(instanceId, first);
      await driver.attachDisk(instanceId, first);
      expect(await added()).toEqual([{ target: 'vdb', serial: 'vol1', isPlugged: false, isDefined: true }]);
      await expect(driver.attachDisk(instanceId, await fixture.disk('vdb', 'vol3'))).rejects.toMatchObject({ kind: 'busy' });
      await driver.ensureRunning(instanceId);
      await boots(spec);
      await driver.attachDisk(instanceId, second);
      await driver.attachDisk(instanceId, second);
      expect(await added()).toEqual([
        { target: 'vdb', serial: 'vol1', isPlugged: true, isDefined: true }, { target: 'vdc', serial: 'vol2', isPlugged: true, isDefined: true },
      ]);
      expect(await fixture.plugged(instanceId)).toEqual(expect.arrayContaining(['vdb', 'vdc']));
      await expect(driver.resizeDisk(instanceId, 'vol3', 2 ** 24)).rejects.toMatchObject({ kind: 'notFound' });
      await driver.detachDisk(instanceId, 'vol1', { force: false });
      await driver.detachDisk(instanceId, 'vol1', { force: false });
      expect(await added()).toEqual([{ target: 'vdc', serial: 'vol2', isPlugged: true, isDefined: true }]);
      expect(await fixture.plugged(instanceId)).not.toContain('vdb');
      await driver.ensureStopped(instanceId);
      expect(await added()).toEqual([{ target: 'vdc', serial: 'vol2', isPlugged: false, isDefined: true }]);
      await driver.detachDisk(instanceId, 'vol2', { force: true });
      expect(await added()).toEqual([]);
    });

    it('copies a disk of a guest that goes on, and again, twice at once, and not of one that does not run', async () => {
      const { disk, copiedBytes } = fixture;
      if (copiedBytes === undefined || disk === undefined) return expect(driver.copier).toBeUndefined();
      const spec = await define();
      const { instanceId } = spec;
      const never = new AbortController().signal;
      const copy = { instanceId, target: 'vdb', path: `${spec.directory}/copy` };
      await driver.attachDisk(instanceId, await disk('vdb', 'vol1'));
      await expect(driver.copier?.copyDisk(copy, never)).rejects.toMatchObject({ kind: 'busy' });
      await driver.ensureRunning(instanceId);
      await boots(spec);
      await driver.copier?.copyDisk(copy, never);
      const raw = { ...copy, path: `${spec.directory}/raw`, format: 'raw' } as const;
      await Promise.all([driver.copier?.copyDisk(copy, never), driver.copier?.copyDisk(raw, never)]);
      expect([await copiedBytes(copy.path, 'qcow2'), await copiedBytes(raw.path, 'raw')]).toEqual([2 ** 23, 2 ** 23]);
      expect((await driver.status(instanceId)).state).toBe('running');
      await expect(driver.copier?.copyDisk({ ...copy, instanceId: newId('i') }, never)).rejects.toMatchObject({ kind: 'notFound' });
    });

    it('says notFound of disks of a domain that is not there, and has nothing to take from it', async () => {
      const id = newId('i');
      await expect(driver.disks(id)).rejects.toMatchObject({ kind: 'notFound' });
      await expect(driver.resizeDisk(id, 'vol1', 2 ** 24)).rejects.toMatchObject({ kind: 'notFound' });
      if (fixture.disk === undefined) return;
      await expect(driver.attachDisk(id, await fixture.disk('vdb', 'vol1'))).rejects.toMatchObject({ kind: 'notFound' });
      await expect(driver.detachDisk(id, 'vol1', { force: false })).resolves.toBeUndefined();
    });

    it('refuses work after it was closed, and closes twice', async () => {
      const next = await fixture.reopen();
      await next.close();
      await next.close();
      await expect(next.list('cloud-one')).rejects.toMatchObject({ kind: 'failed' });
    });
  });
}
