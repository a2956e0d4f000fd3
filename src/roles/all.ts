// The composition root: every role in one process, or one of them, on the same foundation. Same code and same messages either way.
import type { CloudCertificates, PurgeCloud, RunningCloud, StartCloud } from '../cli/cloud.ts';
import { roleNames } from '../config/options.ts';
import { endpointsOf } from '../config/settings.ts';
import { bundlingCertificate } from './bundling-key.ts';
import { openHypervisor } from './drivers.ts';
import { layFoundation, type Foundation } from './foundation.ts';
import { rootAuthority } from './manage/authority-life.ts';
import { networksToPlumb } from '../actors/network/network-spec.ts';
import { createNetworkDriver, createVpnDriver, plumbingOf } from './network.ts';
import { createMetrics, createOpsSource } from './ops-source.ts';
import { startRoles } from './start-roles.ts';
import { openVolumes } from './volume.ts';

export { manageCommands } from './manage/index.ts';
export { writeRedisUsers } from './redis-users.ts';

/** Resolves when everything answers. Rejects with a SetupError or DriverError that says what is missing; then nothing of this process remains. */
export const startCloud: StartCloud = async (settings, options) => {
  const roles = options.role === undefined ? roleNames : [options.role];
  const foundation = await layFoundation(settings, options);
  const closers: (() => Promise<void>)[] = [];
  const stop = async () => {
    await foundation.close();
    for (const close of closers.splice(0).toReversed()) await close();
  };
  try {
    const metrics = createMetrics(foundation);
    const { founder, hypervisor } = await startRoles(foundation, roles, { closers, metrics, onProgress: options.onProgress });
    const { ec2, s3 } = endpointsOf(settings);
    const running: RunningCloud = {
      ...createOpsSource(foundation, metrics, hypervisor),
      endpoints: { ec2: `${ec2}/`, s3, metadata: 'http://169.254.169.254/' },
      founder,
      certificates: founder === undefined ? {} : await certificatesOf(foundation),
      hypervisor: hypervisor === undefined ? undefined : { kind: hypervisor.info.kind, notice: hypervisor.info.notice },
      stop,
    };
    return running;
  } catch (error) {
    await stop();
    throw error;
  }
};

async function certificatesOf(foundation: Foundation): Promise<CloudCertificates> {
  const bundling = await bundlingCertificate(foundation);
  return foundation.settings.tls === 'no' ? { bundling } : { bundling, authority: (await rootAuthority(foundation)).certificate };
}

/** Guests, volumes, bridges, rules and leases of this cloud are gone from this host. Its state folder is the caller's to remove. */
export const purgeCloud: PurgeCloud = async (settings, options) => {
  // What is purged is this host's: it needs the database, and nobody's mailboxes.
  const alone = { ...settings, redisUrl: undefined };
  const foundation = await layFoundation(alone, { ...options, onFatal: (error) => options.log.error({ err: error }, 'purge') });
  try {
    const hypervisor = await openHypervisor(foundation, options.onProgress);
    try {
      for (const domain of await hypervisor.list(foundation.cloudId)) {
        options.onProgress(`removing guest ${domain.instanceId}`);
        await hypervisor.ensureAbsent(domain.instanceId);
      }
    } finally {
      await hypervisor.close();
    }
    options.onProgress('removing volumes and their exports');
    await purgeVolumes(foundation);
    const network = createNetworkDriver(foundation);
    options.onProgress('removing VPN servers, bridges, DHCP servers and rules');
    await createVpnDriver(foundation, network).ensureEndpoints([]);
    await network.removeAll(await networksToPlumb(foundation, plumbingOf(settings))());
    await network.close();
  } finally {
    await foundation.close();
  }
};

async function purgeVolumes(foundation: Foundation): Promise<void> {
  const volumes = openVolumes(foundation);
  try {
    await volumes.removeAll();
  } finally {
    await volumes.close();
  }
}
