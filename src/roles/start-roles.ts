// Starts the roles of a process in the order in which they need each other; each opens the drivers it needs, and no others.
import type { FounderKey } from '../cli/cloud.ts';
import type { RoleName } from '../config/options.ts';
import { networkDriverOf, projectNetworksOf, type Settings } from '../config/settings.ts';
import type { HypervisorDriver } from '../drivers/hypervisor/driver.ts';
import { startCompute } from './compute.ts';
import { openDisk, openHypervisor } from './drivers.ts';
import { ensureFounding, type Founding } from './founding.ts';
import type { Foundation } from './foundation.ts';
import { createNetworkDriver, startNetwork } from './network.ts';
import { startObjectstore } from './objectstore.ts';
import type { Metrics } from './ops-source.ts';
import { startScheduler } from './scheduler.ts';
import { isFarm, startSimComputes, startSimNetworks } from './sim-farm.ts';
import { ensureTinyImage } from './tiny-image.ts';
import { openVolumes, startVolume } from './volume.ts';

export interface RoleOptions {
  /** Of the drivers; run backwards when the roles have ended. */
  readonly closers: (() => Promise<void>)[];
  readonly metrics: Metrics;
  readonly onProgress: (text: string) => void;
}

export interface StartedRoles {
  readonly founder?: FounderKey;
  readonly hypervisor?: HypervisorDriver;
}

interface Stage extends RoleOptions {
  readonly foundation: Foundation;
  /** Asked for by the roles that need a key of the cloud. */
  readonly founding: () => Promise<Founding>;
}

const starters: Readonly<Record<RoleName, (stage: Stage) => Promise<StartedRoles | void>>> = {
  network: openNetwork,
  objectstore: openObjectstore,
  volume: openVolume,
  compute: openCompute,
  scheduler: ({ foundation }) => startScheduler(foundation),
  api: openApi,
};

/** The API comes last: who can ask is answered by a cloud that is whole. */
const order: readonly RoleName[] = ['network', 'objectstore', 'volume', 'compute', 'scheduler', 'api'];

/** Resolves when all of them answer. */
export async function startRoles(foundation: Foundation, roles: readonly RoleName[], options: RoleOptions): Promise<StartedRoles> {
  let founding: Promise<Founding> | undefined;
  const stage: Stage = { ...options, foundation, founding: () => (founding ??= ensureFounding(foundation)) };
  let started: StartedRoles = {};
  for (const role of order.filter((one) => roles.includes(one))) started = { ...started, ...(await starters[role](stage)) };
  return started;
}

function networkText(settings: Settings): string {
  if (networkDriverOf(settings) === 'fake') return 'not plumbed (fake)';
  if (projectNetworksOf(settings) !== undefined) return `${settings.networkManager}, ${settings.projectRange} for each project`;
  return `${settings.bridge} with ${settings.fixedRange}`;
}

async function openNetwork({ foundation, closers, onProgress }: Stage): Promise<void> {
  const { settings } = foundation;
  if (isFarm(foundation)) return startSimNetworks(foundation);
  const driver = createNetworkDriver(foundation);
  closers.push(() => driver.close());
  onProgress(`network: ${networkText(settings)}`);
  await startNetwork(foundation, driver);
}

async function openVolume({ foundation, closers, onProgress }: Stage): Promise<void> {
  const driver = openVolumes(foundation);
  closers.push(() => driver.close());
  await startVolume(foundation, driver);
  onProgress(`volumes: ${driver.info.name}`);
}

async function openObjectstore({ foundation, founding, onProgress }: Stage): Promise<void> {
  const { founder } = await founding();
  const store = await startObjectstore(foundation, openDisk(foundation));
  await ensureTinyImage(foundation, { store, projectId: founder.projectId, onProgress });
}

async function openCompute({ foundation, founding, closers, onProgress }: Stage): Promise<StartedRoles> {
  const { settings } = foundation;
  if (isFarm(foundation)) {
    onProgress(`sim: ${settings.simHosts} hosts, ${settings.host}-1 to ${settings.host}-${settings.simHosts}`);
    await startSimComputes(foundation);
    return {};
  }
  if (settings.redisUrl !== undefined && settings.s3Url === undefined) onProgress('images are fetched from this machine: other hosts need NOVACT_S3_URL');
  const hypervisor = await openHypervisor(foundation, onProgress);
  closers.push(() => hypervisor.close());
  const { systemKey } = await founding();
  await startCompute(foundation, { hypervisor, disk: openDisk(foundation), systemKey });
  return { hypervisor };
}

async function openApi({ foundation, founding, metrics }: Stage): Promise<StartedRoles> {
  const { founder } = await founding();
  // With the model of EC2, a tenth of what a process reads and keeps: only those that serve it need it.
  const { startApi } = await import('./api.ts');
  await startApi(foundation, { observe: metrics.observe });
  return { founder };
}
