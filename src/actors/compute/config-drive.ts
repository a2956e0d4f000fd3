// The drive by which a guest learns its address where no DHCP server tells it (network manager flat): OpenStack's config drive, version 2, which
// cloud-init reads as its source ConfigDrive. Made anew before each start, from the database.
import { join } from 'node:path';
import { configDriveOf, type ConfigDrive } from '../../db/config-drive.ts';
import type { Instance } from '../../db/instance-work.ts';
import type { DriveFile } from '../../drivers/disk/driver.ts';
import type { DomainDisk } from '../../drivers/hypervisor/driver.ts';
import { DriverError } from '../../lib/errors.ts';
import { domainUuid } from '../../lib/ids.ts';
import { instanceDirectory, type ComputeHost, type DriveSettings } from './host.ts';

/** By which a guest finds it. */
const label = 'config-2';
/** Behind all that a user can attach, so that it takes no volume's name. */
const target = 'vdzz';

/** After: the drive is in the instance's folder. None where guests are told their addresses otherwise. */
export async function ensureConfigDrive(host: ComputeHost, instance: Pick<Instance, 'id'>): Promise<DomainDisk[]> {
  if (host.configDrive === undefined) return [];
  const told = await configDriveOf(host.db, instance.id);
  if (told === undefined) throw new DriverError('failed', `${instance.id} has no address that its drive could tell it`);
  const path = join(instanceDirectory(host, instance.id), 'config-drive.iso');
  await host.disk.ensureDrive({ path, label, files: configDriveFiles(told, host.configDrive) });
  return [{ source: { type: 'file', path, format: 'raw' }, target, serial: label, isReadOnly: true }];
}

/** What is on it. */
export function configDriveFiles(told: ConfigDrive, settings: DriveSettings): DriveFile[] {
  const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  return [
    { path: 'openstack/latest/meta_data.json', content: json(metaData(told, settings)) },
    { path: 'openstack/latest/network_data.json', content: json(networkData(told, settings)) },
    { path: `openstack${interfacesPath}`, content: Buffer.from(interfaces(told, settings)) },
    ...(told.userData === null || told.userData === '' ? [] : [{ path: 'openstack/latest/user_data', content: Buffer.from(told.userData, 'base64') }]),
  ];
}

/** For guests that know no JSON: /etc/network/interfaces, as Nova gave it. */
const interfacesPath = '/content/0000';

function metaData(told: ConfigDrive, { dnsDomain }: DriveSettings): object {
  const { instanceId, keyName, publicKey, zone, launchIndex, projectId } = told;
  return {
    uuid: domainUuid(instanceId), name: instanceId, hostname: `${instanceId}.${dnsDomain}`, availability_zone: zone, launch_index: launchIndex,
    project_id: projectId, network_config: { name: 'network_config', content_path: interfacesPath },
    ...(publicKey === null ? {} : { public_keys: { [keyName ?? 'key']: publicKey } }),
  };
}

const prefixOf = (cidr: string): string => cidr.split('/')[1] ?? '32';

function networkData({ mac, mtu, address, cidr, gateway }: ConfigDrive, { nameServers }: DriveSettings): object {
  return {
    links: [{ id: 'eth0', type: 'phy', ethernet_mac_address: mac, mtu }],
    networks: [{
      id: 'network0', link: 'eth0', type: 'ipv4', ip_address: `${address}/${prefixOf(cidr)}`,
      routes: [{ network: '0.0.0.0', netmask: '0.0.0.0', gateway }],
    }],
    services: nameServers.map((server) => ({ type: 'dns', address: server })),
  };
}

function interfaces({ address, cidr, gateway, mtu }: ConfigDrive, { nameServers, dnsDomain }: DriveSettings): string {
  const lines = [
    'auto lo', 'iface lo inet loopback', '', 'auto eth0', 'iface eth0 inet static',
    `    address ${address}/${prefixOf(cidr)}`, `    gateway ${gateway}`, `    mtu ${mtu}`, `    dns-search ${dnsDomain}`,
    ...(nameServers.length === 0 ? [] : [`    dns-nameservers ${nameServers.join(' ')}`]),
  ];
  return `${lines.join('\n')}\n`;
}
