// How the volumes of an instance come to its guest: their hosts are asked to serve them to this one, and what they answer becomes disks.
import { dirname, join } from 'node:path';
import { volumesOfInstance, type AttachedVolume } from '../../db/attachments.ts';
import type { DiskStatus, DomainDisk } from '../../drivers/hypervisor/driver.ts';
import type { Connection } from '../../drivers/volume/driver.ts';
import { DriverError } from '../../lib/errors.ts';
import { volumeSerial } from '../../lib/ids.ts';
import { volumeProtocol } from '../../messages/volume.ts';
import { askUntilHeard, type InstanceContext } from './flows/instance-context.ts';
import type { ComputeHost } from './host.ts';

type Asking = Pick<InstanceContext, 'host' | 'instance' | 'requestId' | 'signal' | 'hurry'>;

/** The disks of all volumes that the instance is to have, in the order of its devices. Each is served to this host when this resolves. */
export async function connectVolumes(context: Asking): Promise<DomainDisk[]> {
  const attached = await volumesOfInstance(context.host.db, context.instance.id);
  return Promise.all(attached.map((one) => connectVolume(context, one)));
}

/** Idempotent: its host ensures what the database says. */
export async function connectVolume(context: Asking, { attachment, volume }: AttachedVolume): Promise<DomainDisk> {
  const { host, requestId } = context;
  if (volume.host === null) throw new DriverError('notFound', `${volume.id} is on no host`);
  const to = { role: 'volume', host: volume.host } as const;
  const served = await askUntilHeard(context, (timeoutMs) =>
    host.transport.ask(to, volumeProtocol, 'settleExports', { volumeId: volume.id }, { timeoutMs, requestId }));
  if (served.connection === null || served.attachmentId !== attachment.id) throw new DriverError('notFound', `${volume.id} is not attached any more`);
  const { connector, access } = host.volumes;
  const source = await connector.ensureConnected(served.connection, {
    initiatorName: access.initiatorName(host.name), secret: access.secretOf(attachment.id),
  });
  return { source, target: attachment.target, serial: volumeSerial(volume.id) };
}

/** After: this host has nothing more of it. For when no guest has the disk. */
export async function disconnectVolume(host: ComputeHost, connection: Connection | null): Promise<void> {
  if (connection !== null) await host.volumes.connector.ensureDisconnected(connection);
}

export async function disconnectVolumes(host: ComputeHost, instanceId: string): Promise<void> {
  for (const { attachment } of await volumesOfInstance(host.db, instanceId)) await disconnectVolume(host, attachment.connection);
}

/** The guest is shown that a volume has grown. One that does not run, or does not have it, sees it in its time. */
export async function growVolume(
  host: ComputeHost, { instanceId, volumeId, sizeGiB }: { instanceId: string; volumeId: string; sizeGiB: number },
): Promise<Record<string, never>> {
  try {
    await host.hypervisor.resizeDisk(instanceId, volumeSerial(volumeId), sizeGiB * 2 ** 30);
  } catch (error) {
    if (!(error instanceof DriverError) || error.kind !== 'notFound') throw error;
  }
  return {};
}

/** Of the volume's own host, whose guests open its files in place. Elsewhere nothing is written than among the drafts beside that file. */
export async function copyVolume(
  host: ComputeHost, { instanceId, volumeId, path }: { instanceId: string; volumeId: string; path: string },
): Promise<{ copied: boolean }> {
  const serial = volumeSerial(volumeId);
  const disk = (await disksOf(host, instanceId)).find((one) => one.serial === serial && one.isPlugged);
  if (disk === undefined) return { copied: false };
  const { copier, info } = host.hypervisor;
  if (copier === undefined) throw new DriverError('unsupported', `the hypervisor ${info.kind} cannot copy the disk of a guest that runs`);
  const [attached] = (await volumesOfInstance(host.db, instanceId)).filter(({ volume }) => volume.id === volumeId);
  const connection = attached?.attachment.connection;
  if (connection?.protocol !== 'file' || dirname(path) !== join(dirname(dirname(connection.path)), 'drafts')) {
    throw new DriverError('failed', `${volumeId} is not copied to ${path}`);
  }
  await copier.copyDisk({ instanceId, target: disk.target, path, format: 'raw' }, new AbortController().signal);
  return { copied: true };
}

async function disksOf(host: ComputeHost, instanceId: string): Promise<readonly DiskStatus[]> {
  try {
    const { state } = await host.hypervisor.status(instanceId);
    return state === 'running' || state === 'paused' ? await host.hypervisor.disks(instanceId) : [];
  } catch (error) {
    if (error instanceof DriverError && error.kind === 'notFound') return [];
    throw error;
  }
}
