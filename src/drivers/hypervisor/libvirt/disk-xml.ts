// The XML of disks, as they stand in a definition and as they are plugged into a running guest, and of the secrets that open them. Pure.
import { createHash } from 'node:crypto';
import { DriverError } from '../../../lib/errors.ts';
import type { DiskSource, DomainDisk } from '../driver.ts';
import { escapeXml } from './escape-xml.ts';

/**
 * A file goes through the host's cache with the guest's flushes honoured; what is behind a network or a device has its own. Discarded blocks are
 * given back.
 */
export function qemuDiskXml(disk: DomainDisk): string {
  const { source } = disk;
  checkDisk(disk);
  const format = source.type === 'file' ? source.format : 'raw';
  const cache = source.type === 'file' ? 'writeback' : 'none';
  return `<disk type='${xmlTypes[source.type]}' device='disk'>
      <driver name='qemu' type='${format}' cache='${cache}' discard='unmap'/>
      ${sourceXml(source)}
      <target dev='${escapeXml(disk.target)}' bus='virtio'/>${readOnly(disk)}
      <serial>${escapeXml(disk.serial)}</serial>
    </disk>`;
}

/** Xen's block back end opens files and devices; what is behind a network must be a device of the host first. */
export function xenDiskXml(disk: DomainDisk): string {
  const { source } = disk;
  checkDisk(disk);
  if (source.type !== 'file' && source.type !== 'block') throw new DriverError('unsupported', `${disk.serial}: Xen opens no ${source.type} disks itself`);
  return `<disk type='${xmlTypes[source.type]}' device='disk'>
      <driver name='qemu' type='${source.type === 'file' ? source.format : 'raw'}'/>${sourceXml(source)}
      <target dev='${escapeXml(disk.target.replace(/^vd/, 'xvd'))}' bus='xen'/>${readOnly(disk)}
      <serial>${escapeXml(disk.serial)}</serial>
    </disk>`;
}

const readOnly = ({ isReadOnly }: DomainDisk): string => (isReadOnly === true ? '<readonly/>' : '');

function checkDisk({ serial, target }: DomainDisk): void {
  if (!/^[A-Za-z0-9_.+-]{1,20}$/.test(serial)) throw new DriverError('failed', `${serial} cannot be a disk's serial number`);
  if (!/^vd[a-z]{1,2}$/.test(target)) throw new DriverError('failed', `${target} cannot be a disk's name`);
}

const xmlTypes = { file: 'file', block: 'block', iscsi: 'network', nbd: 'network' } as const;

function sourceXml(source: DiskSource): string {
  switch (source.type) {
    case 'file':
      return `<source file='${escapeXml(source.path)}'/>`;
    case 'block':
      return `<source dev='${escapeXml(source.path)}'/>`;
    case 'nbd':
      return `<source protocol='nbd' name='${escapeXml(source.exportName)}'>${hostXml(source)}</source>`;
    case 'iscsi':
      return `<source protocol='iscsi' name='${escapeXml(source.target)}/${source.lun}'>${hostXml(source)}` +
        `<auth username='${escapeXml(source.user)}'><secret type='iscsi' uuid='${secretUuid(source.target)}'/></auth>` +
        `<initiator><iqn name='${escapeXml(source.initiator)}'/></initiator></source>`;
  }
}

const hostXml = ({ address, port }: { address: string; port: number }): string => `<host name='${escapeXml(address)}' port='${port}'/>`;

/** Of a target, so that defining its secret again replaces it. */
export function secretUuid(target: string): string {
  const hex = createHash('sha256').update(`iscsi secret ${target}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Kept in the daemon's memory only, and given to nobody but its guests. */
export const secretXml = (target: string): string =>
  `<secret ephemeral='yes' private='yes'><uuid>${secretUuid(target)}</uuid><usage type='iscsi'><target>${escapeXml(target)}</target></usage></secret>`;

/** A disk in a domain's XML as libvirt writes it. */
export interface FoundDisk {
  /** Ours: `vdb` is Xen's xvdb. */
  readonly target: string;
  readonly serial: string;
  /** What its secret is of; undefined: none. */
  readonly secretTarget: string | undefined;
  /** Its own XML, by which libvirt finds it again. */
  readonly xml: string;
}

/** libvirt's output has one form, and none of our texts can hold its marks unescaped. */
export function parseDisks(domain: string): readonly FoundDisk[] {
  return [...domain.matchAll(/<disk [^>]*>[^]*?<\/disk>/g)].flatMap(([xml]) => {
    const target = /<target dev='x?([^']*)'/.exec(xml)?.[1]; // Xen's names begin with an x.
    const serial = /<serial>([^<]*)<\/serial>/.exec(xml)?.[1];
    const secretTarget = xml.includes("<secret type='iscsi'") ? /protocol='iscsi' name='([^']*)\/\d+'/.exec(xml)?.[1] : undefined;
    return target === undefined || serial === undefined ? [] : [{ target, serial, secretTarget, xml }];
  });
}
