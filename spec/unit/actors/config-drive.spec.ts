// What a guest is told by its drive where no DHCP server is.
import { describe, expect, it } from 'vitest';
import { configDriveFiles } from '../../../src/actors/compute/config-drive.ts';
import type { ConfigDrive } from '../../../src/db/config-drive.ts';

const told: ConfigDrive = {
  instanceId: 'i-0123456789abcdef0', projectId: '123456789012', launchIndex: 1, zone: 'nova', keyName: 'mine', publicKey: 'ssh-ed25519 AAAA mine',
  userData: Buffer.from('#!/bin/sh\n\x00\xff', 'latin1').toString('base64'), mac: '02:16:3e:00:00:07', address: '10.45.0.7', cidr: '10.45.0.0/20',
  gateway: '10.45.0.1', mtu: 1400,
};
const settings = { dnsDomain: 'novact.internal', nameServers: ['192.0.2.53', '192.0.2.54'] };
const filesOf = (...of: Parameters<typeof configDriveFiles>) => new Map(configDriveFiles(...of).map(({ path, content }) => [path, content]));
const jsonOf = (files: ReadonlyMap<string, Buffer>, name: string): unknown => JSON.parse(files.get(`openstack/latest/${name}`)?.toString() ?? '');

describe('N2: the drive', () => {
  it('tells address, gateway, MTU and name servers, in the form of today and in that of 2011', () => {
    const files = filesOf(told, settings);
    expect(jsonOf(files, 'network_data.json')).toEqual({
      links: [{ id: 'eth0', type: 'phy', ethernet_mac_address: told.mac, mtu: 1400 }],
      networks: [{
        id: 'network0', link: 'eth0', type: 'ipv4', ip_address: '10.45.0.7/20', routes: [{ network: '0.0.0.0', netmask: '0.0.0.0', gateway: '10.45.0.1' }],
      }],
      services: [{ type: 'dns', address: '192.0.2.53' }, { type: 'dns', address: '192.0.2.54' }],
    });
    expect(files.get('openstack/content/0000')?.toString()).toBe([
      'auto lo', 'iface lo inet loopback', '', 'auto eth0', 'iface eth0 inet static', '    address 10.45.0.7/20', '    gateway 10.45.0.1', '    mtu 1400',
      '    dns-search novact.internal', '    dns-nameservers 192.0.2.53 192.0.2.54', '',
    ].join('\n'));
  });

  it('has the key, the name and the user data, byte for byte', () => {
    const files = filesOf(told, settings);
    expect(jsonOf(files, 'meta_data.json')).toMatchObject({
      name: told.instanceId, hostname: `${told.instanceId}.novact.internal`, availability_zone: 'nova', launch_index: 1,
      public_keys: { mine: told.publicKey }, network_config: { content_path: '/content/0000' },
    });
    expect(files.get('openstack/latest/user_data')?.toString('latin1')).toBe('#!/bin/sh\n\x00\xff');
  });

  it('says nothing of a key, user data and name servers that there are not', () => {
    const files = filesOf({ ...told, keyName: null, publicKey: null, userData: null }, { ...settings, nameServers: [] });
    expect(jsonOf(files, 'meta_data.json')).not.toHaveProperty('public_keys');
    expect(jsonOf(files, 'network_data.json')).toMatchObject({ services: [] });
    expect(files.has('openstack/latest/user_data')).toBe(false);
    expect(files.get('openstack/content/0000')?.toString()).not.toContain('nameservers');
  });
});
