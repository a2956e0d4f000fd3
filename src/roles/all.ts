// The whole cloud in one process: every role on one foundation. The same code and the same messages as in processes of their own.
import { join } from 'node:path';
import type { CloudSettings, PurgeCloud, RunningCloud, StartCloud, StartOptions } from '../cli/cloud.ts';
import { networkDriverOf } from '../config/settings.ts';
import { createQemuImg } from '../drivers/disk/qemu-img.ts';
import { createFakeDisk } from '../drivers/disk/fake.ts';
import type { DiskDriver } from '../drivers/disk/driver.ts';
import type { HypervisorDriver } from '../drivers/hypervisor/driver.ts';
import { createHypervisor } from '../drivers/hypervisor/index.ts';
import { ensureSystemLibvirtd } from '../drivers/hypervisor/libvirt/daemon.ts';
import { startApi } from './api.ts';
import { startCompute } from './compute.ts';
import { ensureFounding } from './founding.ts';
import { layFoundation, reachable, type Foundation } from './foundation.ts';
import { createNetworkDriver, networkSpecs, startNetwork } from './network.ts';
import { startObjectstore } from './objectstore.ts';
import { createMetrics, createOpsSource } from './ops-source.ts';
import { startScheduler } from './scheduler.ts';
import { ensureTinyImage } from './tiny-image.ts';

/** Resolves when everything answers. Rejects with a SetupError or DriverError that says what is missing; then nothing of this process remains. */
export const startCloud: StartCloud = async (settings, options) => {
  const closers: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const close of closers.splice(0).toReversed()) await close();
  };
  try {
    const foundation = await layFoundation(settings, options);
    closers.push(() => foundation.close());
    return { ...(await startRoles(foundation, options, closers)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
};

async function startRoles(foundation: Foundation, options: StartOptions, closers: (() => Promise<void>)[]): Promise<Omit<RunningCloud, 'stop'>> {
  const { settings } = foundation;
  const metrics = createMetrics(foundation);
  const { founder, systemKey } = await ensureFounding(foundation);
  const hypervisor = await openHypervisor(foundation, options);
  closers.unshift(() => hypervisor.close());
  const disk = createDisk(foundation);
  const networkDriver = createNetworkDriver(foundation);
  closers.unshift(() => networkDriver.close());

  options.onProgress(`network: ${networkDriverOf(settings) === 'fake' ? 'not plumbed (fake)' : `${settings.bridge} with ${settings.fixedRange}`}`);
  await startNetwork(foundation, networkDriver);
  const store = await startObjectstore(foundation, disk);
  await startCompute(foundation, { hypervisor, disk, systemKey });
  await startScheduler(foundation);
  await ensureTinyImage(foundation, { store, projectId: founder.projectId, onProgress: options.onProgress });
  await startApi(foundation, { observe: metrics.observe });

  const base = `http://${reachable(settings.bind)}`;
  return {
    ...createOpsSource(foundation, metrics, hypervisor),
    endpoints: { ec2: `${base}:${settings.apiPort}/`, s3: `${base}:${settings.s3Port}`, metadata: 'http://169.254.169.254/' },
    founder,
    hypervisor: { kind: hypervisor.info.kind, notice: hypervisor.info.notice },
  };
}

async function openHypervisor(foundation: Foundation, { onProgress }: Pick<StartOptions, 'onProgress'>): Promise<HypervisorDriver> {
  const { settings, log, clock, run } = foundation;
  const context = { log: log.child({ role: 'compute' }), clock, stateDirectory: settings.state };
  if (settings.hypervisor === 'sim') return createHypervisor('sim', {}, context);
  for (const line of await ensureSystemLibvirtd({ run, log, clock, uri: settings.libvirtUri, socket: settings.libvirtSocket })) onProgress(line);
  return createHypervisor('libvirt', { uri: libvirtUri(settings), probeKernelPath: join(settings.tinyImage, 'vmlinuz') }, context);
}

const libvirtUri = ({ libvirtUri: uri, libvirtSocket }: Pick<CloudSettings, 'libvirtUri' | 'libvirtSocket'>): string =>
  uri.includes('?') ? uri : `${uri}?socket=${libvirtSocket}`;

function createDisk({ settings, log, clock, run }: Foundation): DiskDriver {
  return settings.hypervisor === 'sim' ? createFakeDisk() : createQemuImg({ run, log, clock });
}

/** Guests, bridges, rules and leases of this cloud are gone. Its state folder is the caller's to remove. */
export const purgeCloud: PurgeCloud = async (settings, options) => {
  const foundation = await layFoundation(settings, { ...options, onFatal: (error) => options.log.error({ err: error }, 'purge') });
  try {
    const hypervisor = await openHypervisor(foundation, options);
    try {
      for (const domain of await hypervisor.list(foundation.cloudId)) {
        options.onProgress(`removing guest ${domain.instanceId}`);
        await hypervisor.ensureAbsent(domain.instanceId);
      }
    } finally {
      await hypervisor.close();
    }
    const network = createNetworkDriver(foundation);
    options.onProgress('removing bridges, DHCP servers and rules');
    await network.removeAll(await networkSpecs(foundation));
    await network.close();
  } finally {
    await foundation.close();
  }
};
