// Domain XML from a DomainSpec, for each kind of guest that libvirt runs. Pure; what differs between hypervisors differs here
// and nowhere else.
import { join } from 'node:path';
import { DriverError } from '../../../lib/errors.ts';
import type { DomainDisk, DomainSpec } from '../driver.ts';

/** The namespace of the metadata by which a domain is known as a cloud's own. */
export const metadataNamespace = 'https://novact.invalid/xmlns/1';

export type GuestKind = 'kvm' | 'qemu' | 'lxc' | 'xen';

export const consoleLogPath = (directory: string): string => join(directory, 'console.log');

/** Throws DriverError `failed` for what libvirt would misread, `unsupported` for what this kind of guest cannot be. */
export function domainXml(spec: DomainSpec, kind: GuestKind): string {
  checkSpec(spec);
  if (kind === 'lxc') return lxcXml(spec);
  return kind === 'xen' ? xenXml(spec) : qemuXml(spec, kind);
}

/** Text for an element or an attribute. Control characters do not exist in XML 1.0, escaped or not. */
export function escapeXml(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what is looked for
  if (/[\u0000-\u001f\u007f\ufffe\uffff]/.test(text)) throw new DriverError('failed', `a control character in ${JSON.stringify(text.slice(0, 80))}`);
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };

function checkSpec(spec: DomainSpec): void {
  const { tap } = spec.nic;
  // libvirt silently replaces a name that begins with vnet, and every firewall rule on it then matches nothing.
  if (tap.length === 0 || tap.length > 15 || /^(vnet|vif|macvtap)/.test(tap)) throw new DriverError('failed', `${spec.instanceId}: ${tap} cannot name a tap device`);
  for (const disk of spec.disks) {
    if (!/^[A-Za-z0-9_.+-]{1,20}$/.test(disk.serial)) throw new DriverError('failed', `${spec.instanceId}: ${disk.serial} cannot be a disk's serial number`);
  }
}

function head(spec: DomainSpec, type: GuestKind): string {
  return `<domain type='${type}'>
  <name>${escapeXml(spec.instanceId)}</name>
  <uuid>${escapeXml(spec.uuid)}</uuid>
  <metadata>
    <novact:instance xmlns:novact='${metadataNamespace}' cloud='${escapeXml(spec.cloudId)}' directory='${escapeXml(spec.directory)}'/>
  </metadata>
  <memory unit='MiB'>${spec.memoryMiB}</memory>
  <vcpu>${spec.cores}</vcpu>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>`;
}

function nicXml(spec: DomainSpec, model: string): string {
  return `<interface type='bridge'>
      <mac address='${escapeXml(spec.nic.mac)}'/>
      <source bridge='${escapeXml(spec.nic.bridge)}'/>
      <target dev='${escapeXml(spec.nic.tap)}'/>${model}
    </interface>`;
}

function directBoot(spec: DomainSpec, defaultArguments: string): string {
  if (spec.kernelPath === undefined) return '';
  const ramdisk = spec.ramdiskPath === undefined ? '' : `<initrd>${escapeXml(spec.ramdiskPath)}</initrd>`;
  return `<kernel>${escapeXml(spec.kernelPath)}</kernel>${ramdisk}<cmdline>${escapeXml(spec.kernelArguments ?? defaultArguments)}</cmdline>`;
}

function qemuXml(spec: DomainSpec, kind: 'kvm' | 'qemu'): string {
  const emulated = kind === 'qemu';
  // Without a model an emulated guest gets the first x86-64, on which today's distributions do not start. Its boot is 3 % slower (measured).
  // Emulated timers are late on a busy host, and the kernel's check of them then panics.
  const boot = directBoot(spec, `console=ttyS0 root=/dev/vda${emulated ? ' no_timer_check' : ''}`) || `<boot dev='hd'/>`;
  const port = `<log file='${escapeXml(consoleLogPath(spec.directory))}' append='on'/>`;
  return `${head(spec, kind)}
  <os><type arch='x86_64' machine='pc'>hvm</type>${boot}<smbios mode='sysinfo'/></os>
  <sysinfo type='smbios'><system>
    <entry name='manufacturer'>novact</entry><entry name='product'>novact</entry>
    <entry name='serial'>${escapeXml(spec.uuid)}</entry><entry name='uuid'>${escapeXml(spec.uuid)}</entry>
  </system></sysinfo>
  <features><acpi/><apic/>${emulated ? `<tcg><tb-cache unit='MiB'>32</tb-cache></tcg>` : ''}</features>
  <cpu mode='${emulated ? 'maximum' : 'host-model'}'/>
  <clock offset='utc'/>
  <devices>
    ${spec.disks.map(qemuDiskXml).join('\n    ')}
    ${nicXml(spec, `<model type='virtio'/><rom enabled='no'/>`)}
    <serial type='pty'>${port}<target port='0'/></serial>
    <console type='pty'>${port}<target type='serial' port='0'/></console>
    <controller type='usb' model='none'/>
    <memballoon model='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>`;
}

/** The host's cache with the guest's flushes honoured; blocks that the guest discards are given back. */
function qemuDiskXml(disk: DomainDisk): string {
  return `<disk type='file' device='disk'>
      <driver name='qemu' type='${disk.format}' cache='writeback' discard='unmap'/>
      <source file='${escapeXml(disk.path)}'/>
      <target dev='${escapeXml(disk.target)}' bus='virtio'/>
      <serial>${escapeXml(disk.serial)}</serial>
    </disk>`;
}

function lxcXml(spec: DomainSpec): string {
  if (spec.rootDirectory === undefined) throw new DriverError('unsupported', `${spec.instanceId}: a container needs a root directory`);
  return `${head(spec, 'lxc')}
  <os><type>exe</type><init>/sbin/init</init></os>
  <clock offset='utc'/>
  <devices>
    <filesystem type='mount' accessmode='passthrough'><source dir='${escapeXml(spec.rootDirectory)}'/><target dir='/'/></filesystem>
    ${nicXml(spec, '')}
    <console type='pty'/>
  </devices>
</domain>`;
}

/** Paravirtual guests; written against libvirt's schema, and not run on the hosts that novact is tested on. */
function xenXml(spec: DomainSpec): string {
  const boot = directBoot(spec, 'console=hvc0 root=/dev/xvda');
  const disks = spec.disks.map(
    (disk) => `<disk type='file' device='disk'>
      <driver name='qemu' type='${disk.format}'/><source file='${escapeXml(disk.path)}'/>
      <target dev='${escapeXml(disk.target.replace(/^vd/, 'xvd'))}' bus='xen'/>
    </disk>`,
  );
  return `${head(spec, 'xen')}
  ${boot === '' ? '<bootloader>pygrub</bootloader>' : ''}
  <os><type arch='x86_64' machine='xenpv'>linux</type>${boot}</os>
  <clock offset='utc'/>
  <devices>
    ${disks.join('\n    ')}
    ${nicXml(spec, '')}
    <console type='pty'><target type='xen' port='0'/></console>
  </devices>
</domain>`;
}
