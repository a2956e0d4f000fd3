// Starts the compute role of this host: hypervisor, image cache, and the actors of its instances.
import { join } from 'node:path';
import { computeActor, computeHandlers } from '../actors/compute/actor.ts';
import { watchWaking } from '../actors/operations/watch-waking.ts';
import { sweepIntervalMs } from '../actors/operations/sweep-work.ts';
import type { ComputeHost } from '../actors/compute/host.ts';
import { signV4 } from '../auth/sign-v4.ts';
import { confirmBoot, reportHost, takeEpoch } from '../db/hosts.ts';
import type { DiskDriver } from '../drivers/disk/driver.ts';
import type { FilesDriver } from '../drivers/files/driver.ts';
import { createLocalFiles } from '../drivers/files/local.ts';
import type { HypervisorDriver } from '../drivers/hypervisor/driver.ts';
import { createHttpImageSource } from '../drivers/image-source/http.ts';
import type { ImageSource } from '../drivers/image-source/driver.ts';
import { createAoeInitiator } from '../drivers/volume/aoe-initiator.ts';
import { createVolumeConnector } from '../drivers/volume/connector.ts';
import { SetupError } from '../lib/errors.ts';
import { trusting } from '../lib/web-request.ts';
import { computeProtocol } from '../messages/compute.ts';
import { endpointsOf } from '../config/settings.ts';
import { bootId, keep, serviceOf, type Foundation } from './foundation.ts';
import type { SystemKey } from './founding.ts';
import { attachmentAccess } from './attachment-access.ts';
import { rootAuthority } from './manage/authority-life.ts';
import { startMoves } from './moves.ts';

const limits = {
  shutdownMs: 60_000,
  rebootMs: 60_000,
  imageFetchMs: 9 * 60_000,
  terminatedVisibleMs: 3_600_000,
  reconcileIntervalMs: 30_000,
  sweepIntervalMs: sweepIntervalMs.owned,
};

export interface ComputeDrivers {
  readonly hypervisor: HypervisorDriver;
  readonly disk: DiskDriver;
  readonly systemKey: SystemKey;
}

export async function startCompute(foundation: Foundation, drivers: ComputeDrivers): Promise<void> {
  const { settings, paths, system, transport, relay, db, clock, cloudId, run } = foundation;
  const log = foundation.log.child({ role: 'compute' });
  const files = createLocalFiles({ clock });
  await files.ensureDirectory(paths.instances);
  await files.ensureDirectory(paths.images);
  const { hostRestarted } = await announce(foundation, drivers.hypervisor, files);
  const epoch = await takeEpoch(db, { host: settings.host, role: 'compute' }, clock.date());
  const moves = await startMoves(foundation);
  const host: ComputeHost = {
    name: settings.host, cloudId, db, clock, log, system, transport, relay, files,
    hypervisor: drivers.hypervisor,
    disk: drivers.disk,
    imageSource: await imageSource(foundation, drivers.systemKey),
    volumes: {
      connector: createVolumeConnector(createAoeInitiator({ run, clock, address: settings.address ?? '127.0.0.1' })),
      access: await attachmentAccess(foundation),
    },
    owner: { name: `compute@${settings.host}`, epoch },
    paths: { instances: paths.instances, images: paths.images },
    limits: { ...limits, imageCacheBytesMax: settings.imageCacheGiB * 2 ** 30 },
    ...(moves === undefined ? {} : { moves }),
    ...configDriveOf(foundation, drivers.hypervisor),
  };
  const ref = system.spawn(computeActor, 'compute', { host, hostRestarted });
  const mailbox = { role: 'compute', host: settings.host } as const;
  const serving = transport.serve(mailbox, computeProtocol, computeHandlers(host, ref), { service: serviceOf(foundation, epoch) });
  const subscription = await keep(foundation, serving);
  const onWoken = () => system.tell(ref, { type: 'hypervisorChanged' });
  watchWaking(system, 'compute-waking', { clock, isHeld: () => subscription.isHeld(), onWoken });
}

/** Containers have no drives, and what tenants put into their trees is not written over by root. */
function configDriveOf({ settings }: Foundation, { info }: HypervisorDriver): Pick<ComputeHost, 'configDrive'> {
  const { networkManager, dnsDomain, nameServers = '' } = settings;
  if (networkManager !== 'flat') return {};
  if (!info.bootsKernels) {
    throw new SetupError('containers cannot be told their addresses by a drive, as the network manager flat does', 'Set NOVACT_NETWORK_MANAGER=flat-dhcp.');
  }
  return { configDrive: { dnsDomain, nameServers: nameServers.split(',').filter((server) => server !== '') } };
}

/** What this host can carry, less what is kept back. What guests already have of the disk is counted as claimed, and so is no loss. */
async function announce(
  { settings, paths, db, clock }: Foundation, hypervisor: HypervisorDriver, files: FilesDriver,
): Promise<{ hostRestarted: (() => Promise<void>) | undefined }> {
  const { cores, memoryMiB } = await hypervisor.capacity();
  const free = await files.freeBytes(paths.instances);
  const used = await usedByInstances(files, paths.instances);
  const current = await bootId();
  const { knownBootId } = await reportHost(db, {
    name: settings.host, zone: settings.zone, address: settings.address ?? null, hypervisor: hypervisor.info.kind, cores, bootId: current,
    memoryMiB: Math.max(0, memoryMiB - settings.memoryReservedMiB),
    diskGiB: Math.max(0, Math.floor((free + used) / 2 ** 30) - settings.diskReservedGiB),
  }, clock.date());
  return { hostRestarted: knownBootId === current ? undefined : () => confirmBoot(db, settings.host, current) };
}

async function usedByInstances(files: FilesDriver, directory: string): Promise<number> {
  const folders = await files.list(directory);
  const entries = await Promise.all(folders.map(({ name }) => files.list(join(directory, name))));
  return entries.flat().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

async function imageSource(foundation: Foundation, key: SystemKey): Promise<ImageSource> {
  const { settings, clock } = foundation;
  const endpoint = endpointsOf(settings).s3;
  const isSecure = endpoint.startsWith('https:');
  return createHttpImageSource({
    clock,
    trust: isSecure ? trusting((await rootAuthority(foundation)).certificate) : undefined,
    stallMs: 30_000,
    url: (imageId) => `${endpoint}/_novact/images/${imageId}`,
    async sign(url, payload) {
      const signed = signV4({
        method: payload === undefined ? 'GET' : 'PUT', ...(payload === undefined ? {} : { payloadSha256: payload.sha256 }),
        url: new URL(url), accessKeyId: key.accessKeyId, secretAccessKey: key.secret, region: settings.region, service: 's3', date: clock.date(),
      });
      const { host: _setAnyway, ...headers } = signed;
      return headers;
    },
  });
}
