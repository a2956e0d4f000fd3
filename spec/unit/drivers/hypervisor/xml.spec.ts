// The XML of domains: escaped, valid by libvirt's own schema, and with what each kind of guest needs.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DomainSpec } from '../../../../src/drivers/hypervisor/driver.ts';
import { parseMetadata } from '../../../../src/drivers/hypervisor/libvirt/console-recorder.ts';
import { probeProgram, probeRamdisk, probeText } from '../../../../src/drivers/hypervisor/libvirt/probe-guest.ts';
import { toStatus } from '../../../../src/drivers/hypervisor/libvirt/domain-status.ts';
import { parseLibvirtUri } from '../../../../src/drivers/hypervisor/libvirt/uri.ts';
import { qemuDiskXml, secretUuid } from '../../../../src/drivers/hypervisor/libvirt/disk-xml.ts';
import { escapeXml } from '../../../../src/drivers/hypervisor/libvirt/escape-xml.ts';
import { domainXml } from '../../../../src/drivers/hypervisor/libvirt/xml.ts';
import { domainUuid } from '../../../../src/lib/ids.ts';
import { Secret } from '../../../../src/lib/secret.ts';

const spec: DomainSpec = {
  instanceId: 'i-0123456789abcdef0', cloudId: `a&b'c"<d>`, uuid: domainUuid('i-0123456789abcdef0'), memoryMiB: 128, cores: 2,
  disks: [
    { source: { type: 'file', path: '/var/lib/novact/a & b/disk', format: 'qcow2' }, target: 'vda', serial: 'root' },
    { source: { type: 'file', path: '/data', format: 'raw' }, target: 'vdb', serial: 'vol-1' },
    { source: { type: 'block', path: '/dev/mapper/a&b' }, target: 'vdc', serial: 'vol-2' },
  ],
  kernelPath: '/k', ramdiskPath: '/r', kernelArguments: `root=/dev/vda x="<&>'"`, rootDirectory: undefined,
  nic: { mac: '02:16:3e:00:00:01', bridge: 'br100', tap: 'nv0123456789ab' }, directory: `/var/lib/novact/it's`,
};
const networked: DomainSpec = {
  ...spec,
  disks: [
    ...spec.disks,
    {
      source: {
        type: 'iscsi', address: '10.0.0.1', port: 3260, target: 'iqn.2011-02.org.novact:a', lun: 1, initiator: 'iqn.2011-02.org.novact:h1', user: 'u',
        secret: new Secret('s3cret'),
      },
      target: 'vdd', serial: 'vol-3',
    },
    { source: { type: 'nbd', address: '10.0.0.1', port: 10809, exportName: 'e' }, target: 'vde', serial: 'vol-4' },
  ],
};
const container: DomainSpec = { ...spec, disks: [], kernelPath: undefined, ramdiskPath: undefined, kernelArguments: undefined, rootDirectory: '/tree' };
const wholeDisk: DomainSpec = { ...spec, kernelPath: undefined, ramdiskPath: undefined, kernelArguments: undefined };
const validator = ['virt-xml-validate', 'xmllint'].every((command) => spawnSync(command, ['--version']).error === undefined);

describe('domain XML', () => {
  it.skipIf(!validator).each([
    ['qemu', spec], ['kvm', spec], ['qemu', networked], ['qemu', wholeDisk], ['kvm', wholeDisk], ['lxc', container], ['xen', spec], ['xen', wholeDisk],
  ] as const)('is valid for %s (skipped without virt-xml-validate and xmllint)', (kind, each) => {
    const directory = mkdtempSync(join(tmpdir(), 'hypervisor-xml-'));
    writeFileSync(join(directory, 'd.xml'), domainXml(each, kind));
    const result = spawnSync('virt-xml-validate', [join(directory, 'd.xml'), 'domain'], { encoding: 'utf8' });
    rmSync(directory, { recursive: true });
    expect(result.stderr + result.stdout).toContain('validates');
  });

  it('carries the cloud and the folder there and back', () => {
    const metadata = /<novact:instance[^>]*>/.exec(domainXml(spec, 'qemu'))?.[0] ?? '';
    expect(parseMetadata(metadata)).toEqual({ cloudId: spec.cloudId, directory: spec.directory });
    expect(parseMetadata('<other/>')).toEqual({ cloudId: '', directory: '' });
  });

  it('differs where KVM and TCG do', () => {
    expect(domainXml(spec, 'kvm')).toContain('host-model');
    expect(domainXml(spec, 'kvm')).not.toContain('tb-cache');
    expect(domainXml(spec, 'kvm')).not.toContain('erms');
    expect(domainXml(spec, 'qemu')).toContain('tb-cache');
    expect(domainXml(spec, 'qemu')).toContain(`<cpu mode='maximum'><feature policy='disable' name='erms'/>`);
    expect(domainXml({ ...spec, kernelArguments: undefined }, 'qemu')).toContain('console=ttyS0 root=/dev/vda');
    expect(domainXml(wholeDisk, 'qemu')).toContain(`<boot dev='hd'/>`);
  });

  it.each([
    ['a tap that libvirt would rename', { nic: { ...spec.nic, tap: 'vnet7' } }],
    ['a tap that is too long', { nic: { ...spec.nic, tap: 'nv01234567890123' } }],
    ['a serial number that is none', { disks: [{ source: { type: 'file' as const, path: '/d', format: 'raw' as const }, target: 'vda', serial: 'a b' }] }],
    ['a line break in the kernel arguments', { kernelArguments: 'a\nb' }],
    ['a NUL in a path', { kernelPath: '/k\0' }],
  ])('refuses %s', (_, change) => {
    expect(() => domainXml({ ...spec, ...change }, 'qemu')).toThrow(expect.objectContaining({ name: 'DriverError' }));
  });

  it('refuses a container without a tree', () => {
    expect(() => domainXml(spec, 'lxc')).toThrow(expect.objectContaining({ kind: 'unsupported' }));
  });

  it('names the secret of a disk and never says it', () => {
    expect(domainXml(networked, 'qemu')).toContain(`<secret type='iscsi' uuid='${secretUuid('iqn.2011-02.org.novact:a')}'/>`);
    expect(domainXml(networked, 'qemu')).not.toContain('s3cret');
    expect(() => domainXml(networked, 'xen')).toThrow(expect.objectContaining({ kind: 'unsupported' }));
  });

  it('says raw of every volume, so that nothing a guest writes into one is taken for a format with other files in it', () => {
    const disks = networked.disks.filter(({ serial }) => serial !== 'root').map(qemuDiskXml);
    expect(disks).toHaveLength(4);
    for (const disk of disks) expect(disk).toMatch(/<driver name='qemu' type='raw' /);
  });

  it('escapes what XML would read', () => {
    expect(escapeXml(`<a b="c" d='e'>&`)).toBe('&lt;a b=&quot;c&quot; d=&apos;e&apos;&gt;&amp;');
  });
});

describe('libvirt states', () => {
  it.each([
    [1, 0, 'running', 'unknown'], [2, 0, 'running', 'unknown'], [3, 5, 'paused', 'unknown'], [4, 0, 'running', 'unknown'], [5, 0, 'shutoff', 'unknown'],
    [5, 1, 'shutoff', 'guest'], [5, 2, 'shutoff', 'destroyed'], [5, 3, 'shutoff', 'failed'], [5, 6, 'shutoff', 'failed'], [5, 99, 'shutoff', 'unknown'],
    [6, 0, 'crashed', 'failed'],
  ])('%i with reason %i is %s, %s', (state, reason, shown, why) => {
    expect(toStatus('i-1', { state, reason })).toEqual({ instanceId: 'i-1', state: shown, reason: why });
  });
});

describe('libvirt URIs', () => {
  it('knows where each daemon listens', () => {
    expect(parseLibvirtUri('qemu:///system')).toEqual({ kind: 'qemu', uri: 'qemu:///system', sockets: ['/run/libvirt/libvirt-sock', '/run/libvirt/virtqemud-sock'] });
    expect(parseLibvirtUri('lxc:///system?socket=/a%20b')).toEqual({ kind: 'lxc', uri: 'lxc:///system', sockets: ['/a b'] });
    expect(parseLibvirtUri('qemu:///session').sockets[0]).toMatch(/\/libvirt\/libvirt-sock$/);
  });

  it.each(['http://x', 'qemu+ssh://host/system', 'lxc:///session', 'qemu:///system?mode=legacy', ''])('refuses %s with the forms it takes', (uri) => {
    expect(() => parseLibvirtUri(uri)).toThrow(expect.objectContaining({ name: 'SetupError', remedy: expect.stringContaining('qemu:///system') }));
  });
});

describe('the probe guest', () => {
  it('is an ELF program and an archive that cpio reads', () => {
    expect(probeProgram().toString('latin1', 0, 4)).toBe('\x7fELF');
    expect(probeProgram().toString('latin1')).toContain(probeText);
    const listing = spawnSync('cpio', ['-itv'], { input: probeRamdisk(), encoding: 'utf8' });
    if (listing.error === undefined) expect(listing.stdout).toMatch(/-rwxr-xr-x .* init/);
  });
});
