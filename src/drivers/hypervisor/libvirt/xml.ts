// Domain XML from a DomainSpec, for each kind of guest that libvirt runs. Pure; what differs between hypervisors differs here
// and nowhere else.
import { join } from 'node:path';
import { DriverError } from '../../../lib/errors.ts';
import type { DomainSpec } from '../driver.ts';
import { qemuDiskXml, xenDiskXml } from './disk-xml.ts';
import { escapeXml } from './escape-xml.ts';

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

function checkSpec(spec: DomainSpec): void {
  const { tap } = spec.nic;
  // libvirt silently replaces a name that begins with vnet, and every firewall rule on it then matches nothing.
  if (tap.length === 0 || tap.length > 15 || /^(vnet|vif|macvtap)/.test(tap)) throw new DriverError('failed', `${spec.instanceId}: ${tap} cannot name a tap device`);
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
  // Without a model an emulated guest gets the first x86-64, on which today's distributions do not start. Copying byte by byte (erms) and page tables
  // of five levels (la57) are features only where a processor has them in hardware: without, a boot is 4 % faster (measured).
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
  ${emulated ? `<cpu mode='maximum'><feature policy='disable' name='erms'/><feature policy='disable' name='la57'/></cpu>` : `<cpu mode='host-model'/>`}
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

/** Paravirtual guests. */
function xenXml(spec: DomainSpec): string {
  const boot = directBoot(spec, 'console=hvc0 root=/dev/xvda');
  return `${head(spec, 'xen')}
  ${boot === '' ? '<bootloader>pygrub</bootloader>' : ''}
  <os><type arch='x86_64' machine='xenpv'>linux</type>${boot}</os>
  <clock offset='utc'/>
  <devices>
    ${spec.disks.map(xenDiskXml).join('\n    ')}
    ${nicXml(spec, '')}
    <console type='pty'><target type='xen' port='0'/></console>
  </devices>
</domain>`;
}
