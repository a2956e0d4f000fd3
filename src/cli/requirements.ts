// What novact needs of the host, as programs and the Debian packages that bring them. `bin/bootstrap` installs the same packages; a spec
// holds the two lists together.
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

export interface Requirement {
  readonly program: string;
  readonly package: string;
  readonly purpose: string;
}

/** For guests under libvirt. */
export const hypervisorRequirements: readonly Requirement[] = [
  { program: 'qemu-system-x86_64', package: 'qemu-system-x86', purpose: 'runs the guests' },
  { program: 'qemu-img', package: 'qemu-utils', purpose: 'reads images and makes disks' },
  { program: 'libvirtd', package: 'libvirt-daemon', purpose: 'keeps the guests' },
  { program: 'virtlogd', package: 'libvirt-daemon', purpose: 'keeps the guests\' console logs' },
  { program: 'debugfs', package: 'e2fsprogs', purpose: 'copies trees out of images without mounting them' },
];

/** Of these, what registering an image needs: no root, and no daemon. */
export const imageRequirements: readonly Requirement[] = hypervisorRequirements.filter(({ program }) => program === 'qemu-img' || program === 'debugfs');

/** For guests that are told their address by a drive: with the network manager flat. */
export const driveRequirements: readonly Requirement[] = [
  { program: 'xorriso', package: 'xorriso', purpose: 'makes the drives that tell guests their addresses' },
];

/** For real networks. */
export const networkRequirements: readonly Requirement[] = [
  { program: 'ip', package: 'iproute2', purpose: 'makes bridges' },
  { program: 'nft', package: 'nftables', purpose: 'security groups and NAT' },
  { program: 'conntrack', package: 'conntrack', purpose: 'ends connections that a group no longer allows' },
  { program: 'arping', package: 'iputils-arping', purpose: 'tells the network where a floating address is' },
  { program: 'dnsmasq', package: 'dnsmasq-base', purpose: 'DHCP and DNS for guests' },
  { program: 'dhcp_release', package: 'dnsmasq-utils', purpose: 'gives addresses back at once' },
  { program: 'modprobe', package: 'kmod', purpose: 'loads parts of the kernel' },
  { program: 'openvpn', package: 'openvpn', purpose: 'ways into the networks of projects' },
  { program: 'openssl', package: 'openssl', purpose: 'makes the certificates of those ways' },
];

/** For volumes that guests of other hosts can have. */
export const volumeRequirements: readonly Requirement[] = [
  { program: 'tgtd', package: 'tgt', purpose: 'gives volumes to guests over iSCSI' },
];

/** For the private database. */
export const databaseRequirements: readonly Requirement[] = [
  { program: 'setpriv', package: 'util-linux', purpose: 'runs the database without root\'s rights' },
];

/** For `novact try`. */
export const clientRequirements: readonly Requirement[] = [
  { program: 'ssh', package: 'openssh-client', purpose: 'logs in to guests' },
];

/** Where the program is; root's folders are searched even where the PATH leaves them out. */
export function programPath(program: string, path = process.env['PATH'] ?? ''): string | undefined {
  const folders = [...path.split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'].filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export const missingOf = (requirements: readonly Requirement[]): readonly Requirement[] =>
  requirements.filter(({ program }) => programPath(program) === undefined);
