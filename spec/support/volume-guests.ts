// One test host with a volume driver, and guests that have its volumes as disks. Root only.
import type { DomainDisk } from '../../src/drivers/hypervisor/driver.ts';
import { createVolumeConnector } from '../../src/drivers/volume/connector.ts';
import type { Connection, ExportSpec, VolumeDriver } from '../../src/drivers/volume/driver.ts';
import { newId } from '../../src/lib/ids.ts';
import { findProcesses, type FoundProcess } from '../../src/lib/processes.ts';
import { diskCommand } from './guest-disks.ts';
import { startGuestHost, type GuestHost, type RunningGuest } from './guest-host.ts';
import { eventually } from './hypervisor-contract.ts';
import { exportSpecOf, mebibyte } from './volume-contract.ts';
import { giveAddresses, hostAddress, volumesOn } from './volume-host.ts';

export const initiatorName = 'iqn.2011-02.org.novact:h1';
export const initiators = [{ name: initiatorName, address: hostAddress }];

export const serialOf = (volumeId: string): string => volumeId.replace('-', '').slice(0, 20);

const programs = ['tgtd', 'nbdkit'];

export class VolumeGuests {
  readonly host: GuestHost;
  readonly driver: VolumeDriver;

  constructor(host: GuestHost, driver: VolumeDriver) {
    this.host = host;
    this.driver = driver;
  }

  /** The processes that serve volumes of this host. */
  servers(): Promise<readonly FoundProcess[]> {
    return findProcesses(([command = '', ...args]) =>
      programs.some((name) => command.endsWith(name)) && args.some((arg) => arg.startsWith(this.host.machine.directory)));
  }

  async killServers(): Promise<void> {
    for (const { pid } of await this.servers()) process.kill(pid, 'SIGKILL');
  }

  /** The attachment of which the driver says next that its server has died. */
  nextDeath(): Promise<string> {
    return new Promise((resolve) => this.driver.subscribe(({ attachmentId }) => resolve(attachmentId)));
  }

  async makeVolume(sizeBytes = 64 * mebibyte): Promise<string> {
    const id = newId('vol');
    await this.driver.ensureVolume({ id, sizeBytes });
    return id;
  }

  async diskOf(spec: ExportSpec, connection: Connection): Promise<DomainDisk> {
    const source = await createVolumeConnector().ensureConnected(connection, { initiatorName, secret: spec.secret });
    return { source, target: 'vdb', serial: serialOf(spec.volumeId) };
  }

  async attach({ instanceId }: RunningGuest, volumeId: string): Promise<ExportSpec> {
    const spec = exportSpecOf(volumeId, { initiators });
    await this.host.hypervisor.attachDisk(instanceId, await this.diskOf(spec, await this.driver.ensureExport(spec)));
    return spec;
  }

  async detach({ instanceId }: RunningGuest, { attachmentId, volumeId }: ExportSpec): Promise<void> {
    await this.host.hypervisor.detachDisk(instanceId, serialOf(volumeId), { force: false });
    await this.driver.ensureUnexported(attachmentId);
  }

  async down(): Promise<void> {
    await this.driver.removeAll();
    await this.driver.close();
    await this.host.down();
  }
}

export async function startVolumeGuests(hostName: string, driver: 'iscsi' | 'nbd'): Promise<VolumeGuests> {
  const host = await startGuestHost(hostName);
  try {
    await giveAddresses(host.machine);
    return new VolumeGuests(host, await volumesOn(host.machine, driver));
  } catch (error) {
    await host.down();
    throw error;
  }
}

/** The guest's own name of the disk with that volume's serial number, when it sees it. */
export const nameIn = (guest: RunningGuest, volumeId: string): Promise<string> =>
  eventually(() => guest.ssh(diskCommand(serialOf(volumeId))), (name) => name !== '', 60_000, 100).then((name) => `/dev/${name}`);

/** A file system on that disk, with the text in a file of it; says `written`. */
export const putOn = (guest: RunningGuest, disk: string, text: string): Promise<string> =>
  guest.ssh(`mke2fs ${disk} >/dev/null 2>&1 && mount -t ext4 ${disk} /mnt && echo ${text} > /mnt/proof && sync && umount /mnt && echo written`);

/** That text again. */
export const readFrom = (guest: RunningGuest, disk: string): Promise<string> => guest.ssh(`mount -t ext4 ${disk} /mnt && cat /mnt/proof && umount /mnt`);

/** What a guest is told that reads from a disk that nobody serves. */
export const failedRead = (guest: RunningGuest, disk: string): Promise<string> => guest.ssh(`dd if=${disk} of=/dev/null bs=4k count=1 iflag=direct 2>&1; true`);
