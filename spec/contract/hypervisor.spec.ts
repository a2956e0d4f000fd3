// The hypervisor contract over the driver in memory, and what only that one has: failures on demand.
import { describe, expect, it } from 'vitest';
import { createSimHypervisor, SimWorld } from '../../src/drivers/hypervisor/sim.ts';
import { domainUuid } from '../../src/lib/ids.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import type { DomainDisk, DomainSpec } from '../../src/drivers/hypervisor/driver.ts';
import { hypervisorContract } from '../support/hypervisor-contract.ts';

function simSpec(instanceId: string, cloudId: string): DomainSpec {
  return {
    instanceId, cloudId, uuid: domainUuid(instanceId), memoryMiB: 128, cores: 1, disks: [], kernelPath: undefined, ramdiskPath: undefined,
    kernelArguments: undefined, rootDirectory: undefined, nic: { mac: '02:16:3e:00:00:01', bridge: 'br100', tap: 'nv1' }, directory: '/nowhere',
  };
}

hypervisorContract('sim', async () => {
  const world = new SimWorld();
  const copies = new Set<string>();
  const open = () => createSimHypervisor({ clock, world, bootDelayMs: 20, shutdownDelayMs: 10, copyFile: async (_from, to) => void copies.add(to) });
  const driver = open();
  return {
    driver,
    spec: async (instanceId, cloudId) => simSpec(instanceId, cloudId),
    reopen: async () => open(),
    readyText: 'is ready',
    destroyBehindItsBack: async (instanceId) => world.destroy(instanceId),
    witness: async (instanceId) => {
      const state = world.domains.get(instanceId)?.state;
      return state === undefined ? undefined : state === 'running' ? 'running' : 'shutoff';
    },
    disk: async (target, serial) => ({ source: { type: 'file', path: `/nowhere/${serial}`, format: 'raw' }, target, serial }),
    copiedBytes: async (path) => (copies.has(path) ? 2 ** 23 : undefined),
    plugged: async (instanceId) => (world.domains.get(instanceId)?.plugged ?? []).map((disk) => disk.target),
    patienceMs: 30_000,
    close: () => driver.close(),
  };
});

describe('the sim driver', () => {
  it('fails to start what it was told to fail, with the words it was given', async () => {
    const driver = createSimHypervisor({ clock, failSpawnOn: (spec) => (spec.memoryMiB > 100 ? 'no memory left' : undefined) });
    await driver.ensureDefined(simSpec('i-1', 'c'));
    await expect(driver.ensureRunning('i-1')).rejects.toMatchObject({ kind: 'failed', message: 'start i-1: no memory left' });
    expect(await driver.status('i-1')).toMatchObject({ state: 'shutoff' });
  });

  it('has guests that are deaf to wishes but not to force', async () => {
    const world = new SimWorld();
    const driver = createSimHypervisor({ clock, world, shutdownDelayMs: 0, deaf: () => true });
    await driver.ensureDefined(simSpec('i-1', 'c'));
    await driver.ensureRunning('i-1');
    await driver.requestShutdown('i-1');
    await clock.sleep(5);
    expect(await driver.status('i-1')).toMatchObject({ state: 'running' });
    await driver.ensureStopped('i-1');
    expect(await driver.status('i-1')).toMatchObject({ state: 'shutoff', reason: 'destroyed' });
  });

  it('refuses disks and keeps them when told to, and gives up one that is taken by force', async () => {
    const driver = createSimHypervisor({ clock, failAttachOn: (_, { serial }) => (serial === 'vol2' ? 'no such target' : undefined), holdsDisk: () => true });
    await driver.ensureDefined(simSpec('i-1', 'c'));
    await driver.ensureRunning('i-1');
    const disk = (serial: string, target: string): DomainDisk => ({ source: { type: 'block', path: '/dev/null' }, target, serial });
    await expect(driver.attachDisk('i-1', disk('vol2', 'vdc'))).rejects.toMatchObject({ kind: 'failed', message: 'attach vol2 to i-1: no such target' });
    await driver.attachDisk('i-1', disk('vol1', 'vdb'));
    await expect(driver.detachDisk('i-1', 'vol1', { force: false })).rejects.toMatchObject({ kind: 'busy' });
    expect(await driver.disks('i-1')).toEqual([{ serial: 'vol1', target: 'vdb', isPlugged: true, isDefined: true }]);
    await driver.detachDisk('i-1', 'vol1', { force: true });
    expect(await driver.disks('i-1')).toEqual([]);
  });

  it('loses and regains its daemon, with the events of a real one', async () => {
    const world = new SimWorld();
    const driver = createSimHypervisor({ clock, world });
    const types: string[] = [];
    driver.subscribe((event) => types.push(event.type));
    world.disconnect();
    await expect(driver.list('c')).rejects.toMatchObject({ kind: 'timeout' });
    world.reconnect();
    expect(await driver.list('c')).toEqual([]);
    expect(types).toEqual(['disconnected', 'connected']);
  });

  it('keeps a crash apart from a power-off', async () => {
    const world = new SimWorld();
    const driver = createSimHypervisor({ clock, world });
    await driver.ensureDefined(simSpec('i-1', 'c'));
    await driver.ensureRunning('i-1');
    world.crash('i-1');
    expect(await driver.status('i-1')).toMatchObject({ state: 'shutoff', reason: 'failed' });
    await driver.ensureRunning('i-1');
    world.powerOff('i-1');
    expect(await driver.status('i-1')).toMatchObject({ state: 'shutoff', reason: 'guest' });
  });
});
