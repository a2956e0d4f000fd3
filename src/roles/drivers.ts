// Opens the drivers that the settings name, for the roles that need them.
import { join } from 'node:path';
import type { Settings } from '../config/settings.ts';
import type { DiskDriver } from '../drivers/disk/driver.ts';
import { createFakeDisk } from '../drivers/disk/fake.ts';
import { createQemuImg } from '../drivers/disk/qemu-img.ts';
import type { HypervisorDriver } from '../drivers/hypervisor/driver.ts';
import { createHypervisor } from '../drivers/hypervisor/index.ts';
import { ensureSystemLibvirtd } from '../drivers/hypervisor/libvirt/daemon.ts';
import type { Foundation } from './foundation.ts';

/** Starts the libvirt daemon where nobody has. */
export async function openHypervisor(foundation: Foundation, onProgress: (text: string) => void): Promise<HypervisorDriver> {
  const { settings, log, clock, run } = foundation;
  const context = { log: log.child({ role: 'compute' }), clock, stateDirectory: settings.state };
  if (settings.hypervisor === 'sim') return createHypervisor('sim', {}, context);
  for (const line of await ensureSystemLibvirtd({ run, log, clock, uri: settings.libvirtUri, socket: settings.libvirtSocket })) onProgress(line);
  return createHypervisor('libvirt', { uri: libvirtUri(settings), probeKernelPath: join(settings.tinyImage, 'vmlinuz') }, context);
}

const libvirtUri = ({ libvirtUri: uri, libvirtSocket }: Pick<Settings, 'libvirtUri' | 'libvirtSocket'>): string =>
  uri.includes('?') ? uri : `${uri}?socket=${libvirtSocket}`;

export const openDisk = ({ settings, log, clock, run }: Foundation): DiskDriver =>
  settings.hypervisor === 'sim' ? createFakeDisk() : createQemuImg({ run, log, clock });
