// instance.run: from a placed row to a running guest.
//   image   fetch machine, kernel and ramdisk images into the cache       (the cache keeps them),
//           and make the volumes it is launched with                       (they are the instance's, wherever it runs)
//   port    claim the address; bridge, DHCP and rules on this host        − all of it gone, the address free
//   disk    the instance's folder with its root disk or tree              − the folder gone
//   domain  define the domain                                             − no domain
//   start   start it                                                      − stopped
//   report  the row says running                                          − pending again
import { confirmAttachments } from '../../../db/attachments.ts';
import { imagesOf, loadInstance, settle, type Image, type Instance } from '../../../db/instance-work.ts';
import type { DomainDisk, DomainSpec } from '../../../drivers/hypervisor/driver.ts';
import type { Flow, StepOutputs } from '../../../lib/flow.ts';
import { domainUuid } from '../../../lib/ids.ts';
import { ensureConfigDrive } from '../config-drive.ts';
import { instanceDirectory, rootDisk, rootTree, type ComputeHost } from '../host.ts';
import { connectVolumes, disconnectVolumes } from '../volumes.ts';
import { ensurePort, removePort, type InstanceContext, type Port } from './instance-context.ts';
import { makeVolumes } from './make-volumes.ts';

export interface Prepared {
  /** Null for one that boots from a volume. */
  readonly machine: string | null;
  readonly kernel: string | null;
  readonly ramdisk: string | null;
  /** It is known to have no volumes: until it runs, it gets no others. Most have none, and are spared three statements. */
  readonly hasNoVolumes?: boolean;
}

export const runInstance: Flow<InstanceContext> = {
  name: 'instance.run',
  steps: [
    { name: 'image', do: prepareLaunch },
    { name: 'port', do: (context) => ensurePort(context), undo: removePort },
    { name: 'disk', do: prepareDisk, undo: removeDisk },
    { name: 'domain', do: (context, outputs) => defineDomain(context, outputs), undo: (context) => removeDomain(context) },
    {
      name: 'start',
      do: ({ host, instance }) => host.hypervisor.ensureRunning(instance.id),
      undo: ({ host, instance }) => host.hypervisor.ensureStopped(instance.id),
    },
    { name: 'report', do: reportRunning, undo: unreport },
  ],
};

export async function prepareImages(context: Pick<InstanceContext, 'host' | 'instance' | 'fetchImage'>): Promise<Prepared> {
  const { instance, fetchImage } = context;
  const [machine, kernel, ramdisk] = await Promise.all([
    instance.bootsFromVolume ? null : fetchImage(instance.imageId),
    instance.kernelId === null || !context.host.hypervisor.info.bootsKernels ? null : fetchImage(instance.kernelId),
    instance.ramdiskId === null || !context.host.hypervisor.info.bootsKernels ? null : fetchImage(instance.ramdiskId),
  ]);
  return { machine, kernel, ramdisk };
}

async function prepareLaunch(context: InstanceContext): Promise<Prepared> {
  const images = await prepareImages(context);
  return { ...images, hasNoVolumes: (await makeVolumes(context)) === 0 };
}

async function prepareDisk(context: InstanceContext, outputs: StepOutputs): Promise<void> {
  const { host, instance } = context;
  const { machine } = outputs['image'] as Prepared;
  const directory = instanceDirectory(host, instance.id);
  await host.files.ensureDirectory(directory);
  if (machine === null) return;
  const image = await machineImage(host, instance);
  if (!host.hypervisor.info.bootsKernels) return host.disk.ensureTree({ path: machine, format: image.format ?? 'raw', directory: rootTree(directory) });
  await host.disk.ensureOverlay(overlayOf(host, instance, image, machine));
}

/** The instance's root disk on its image, as it is made at first. */
export function overlayOf(host: ComputeHost, instance: Instance, image: Image, base: string) {
  const sizeBytes = Math.max(instance.rootGiB * 2 ** 30, image.virtualSizeBytes ?? 0);
  return { path: rootDisk(instanceDirectory(host, instance.id)), base, baseFormat: image.format ?? 'raw', sizeBytes };
}

/**
 * Read anew, as late as can be: this host may have stood still while the instance went on, and on a shared folder its files are those that it
 * lives on elsewhere (docs/decisions/0009-migration.md tells what is left of the window).
 */
async function removeDisk({ host, instance }: InstanceContext): Promise<void> {
  const row = await loadInstance(host.db, instance.id);
  const isOurs = row?.host === host.name && row.fence === instance.fence;
  const mayBeUsed = host.moves?.instancesShared === true ? row !== undefined && row.state !== 'terminated' : row?.host === host.name;
  if (mayBeUsed && !isOurs) return;
  await host.files.removeTree(instanceDirectory(host, instance.id));
}

/** With all volumes that it is to have, each served to this host, and the drive that tells it its address, if one does. */
export async function defineDomain(context: InstanceContext, outputs: StepOutputs): Promise<void> {
  const { host, instance } = context;
  const images = outputs['image'] as Prepared;
  const added = [...(images.hasNoVolumes === true ? [] : await connectVolumes(context)), ...await ensureConfigDrive(host, instance)];
  await host.hypervisor.ensureDefined(domainSpec(host, instance, { port: outputs['port'] as Port, images, added }));
}

/** Not the connections of volumes that another host has it with by now: they are per host. */
export async function removeDomain({ host, instance }: Pick<InstanceContext, 'host' | 'instance'>): Promise<void> {
  await host.hypervisor.ensureAbsent(instance.id);
  await disconnectVolumes(host, instance.id);
}

interface Parts {
  readonly port: Port;
  readonly images: Prepared;
  /** Beside the root disk. */
  readonly added: readonly DomainDisk[];
}

function domainSpec(host: ComputeHost, instance: Instance, { port, images, added }: Parts): DomainSpec {
  const directory = instanceDirectory(host, instance.id);
  const { bootsKernels } = host.hypervisor.info;
  return {
    instanceId: instance.id,
    cloudId: host.cloudId,
    uuid: domainUuid(instance.id),
    memoryMiB: instance.memoryMiB,
    cores: instance.cores,
    disks: bootsKernels ? [...rootDisks(instance, directory), ...added] : [],
    kernelPath: images.kernel ?? undefined,
    ramdiskPath: images.ramdisk ?? undefined,
    kernelArguments: images.kernel === null ? undefined : kernelArguments(host),
    rootDirectory: bootsKernels ? undefined : rootTree(directory),
    nic: { mac: port.mac, bridge: port.bridge, tap: port.tap },
    directory,
  };
}

/** None where the root disk is one of its volumes. */
function rootDisks({ bootsFromVolume }: Instance, directory: string): DomainDisk[] {
  return bootsFromVolume ? [] : [{ source: { type: 'file', path: rootDisk(directory), format: 'qcow2' }, target: 'vda', serial: 'root' }];
}

/**
 * What only costs time under emulation: mitigations of faults that its CPU does not have, the kernel's tests of its own ciphers, its rewriting of its
 * code for one processor. Not acpi=noirq, which spares a fifth of a boot (the firmware's table of interrupts is computed anew for each device): a
 * guest then sees the first disk that is plugged in, and never a second one.
 */
const emulatedArguments = 'nokaslr mitigations=off no_timer_check cryptomgr.notests noreplace-smp';

/** Xen's guests have other names for their disks and console. */
function kernelArguments(host: ComputeHost): string {
  const { kind } = host.hypervisor.info;
  if (kind === 'xen') return 'root=/dev/xvda console=hvc0 quiet';
  return `root=/dev/vda console=ttyS0 quiet${kind === 'qemu' ? ` ${emulatedArguments}` : ''}`;
}

async function reportRunning({ host, instance }: InstanceContext, outputs: StepOutputs): Promise<void> {
  const settled = await settle(host.db, instance, ['pending', 'running'], {
    state: 'running', reasonCode: null, reason: null, hypervisor: host.hypervisor.info.kind,
  }, host.clock.date());
  if (!settled) throw new Error('the instance is no longer this host\'s, or is to end');
  if ((outputs['image'] as Prepared).hasNoVolumes !== true) await confirmAttachments(host.db, instance.id);
}

export async function unreport({ host, instance }: InstanceContext): Promise<void> {
  await settle(host.db, instance, ['running'], { state: 'pending', reasonCode: null, reason: null }, host.clock.date());
}

export async function machineImage(host: ComputeHost, instance: Instance): Promise<Image> {
  const [image] = await imagesOf(host.db, [instance.imageId]);
  if (image === undefined) throw new Error(`the image ${instance.imageId} does not exist any more`);
  return image;
}
