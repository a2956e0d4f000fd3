// A stock cloud image, as anybody brings it: Debian with cloud-init, GRUB and its own kernel, to which nobody said where it would run. It
// must find the Ec2 data source, its key, its user data and its larger disk by itself. Emulated, that takes minutes, and the image is not
// part of bootstrap: the spec runs where images/debian/build.sh has been run.
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aws, s3cmd, writeKey } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { expectNoLeftovers } from '../support/leftovers.ts';
import { waitFor } from '../support/patience.ts';

const image = resolve(import.meta.dirname, '../../build/debian/disk.qcow2');
const hasImage = existsSync(image);
if (!hasImage) process.stderr.write('skipped: there is no build/debian/disk.qcow2 (images/debian/build.sh build/debian makes it)\n');

const bootTimeoutMs = 420_000;
const testTimeoutMs = bootTimeoutMs + 120_000;
const userData = '#cloud-config\nhostname: lighthouse\nwrite_files:\n  - path: /etc/lighthouse\n    content: "written by user data\\n"\n';
const sshOptions = ['BatchMode=yes', 'ConnectTimeout=3', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR'];

describe.skipIf(!hasImage)('a Debian image with cloud-init', () => {
  let cloud: CloudProcess;
  let keyFile: string;
  let instanceId: string;
  let bootId: string;
  const ec2 = <T>(...args: readonly string[]) => aws<T>(cloud, 'ec2', ...args);

  /** As the image's own user, at the address of this moment. */
  async function inGuest(command: string): Promise<string> {
    const query = ['--instance-ids', instanceId, '--query', 'Reservations[0].Instances[0].PrivateIpAddress'];
    const address = await ec2<string>('describe-instances', ...query);
    const options = sshOptions.flatMap((text) => ['-o', text]);
    return (await cloud.run('ssh', ['-F', '/dev/null', '-n', ...options, '-i', keyFile, `debian@${address}`, command], { timeoutMs: 60_000 })).stdout.trim();
  }

  /** Waits for a boot other than the last one, and for cloud-init's end in it; answers cloud-init's own report. */
  async function untilBooted(): Promise<string> {
    const patience = { timeoutMs: bootTimeoutMs, pollMs: 2_000 };
    bootId = await waitFor('a new boot answers ssh', patience, async () => {
      const id = await inGuest('cat /proc/sys/kernel/random/boot_id');
      return id === bootId ? undefined : id;
    });
    return waitFor('cloud-init is done', patience, async () => {
      // It leaves with an error when a part of it failed; the text says so too.
      const report = await inGuest('cloud-init status --long || true');
      return /^status: (not run|running)/m.test(report) ? undefined : report;
    });
  }

  beforeAll(async () => {
    cloud = await startCloudProcess('debian-image', { guests: 'qemu' });
    await s3cmd(cloud, 'mb', 's3://images');
    await s3cmd(cloud, 'put', image, 's3://images/debian.qcow2');
    const { ImageId } = await ec2<{ ImageId: string }>('register-image', '--name', 'debian', '--image-location', 'images/debian.qcow2');
    await ec2('wait', 'image-available', '--image-ids', ImageId);
    keyFile = await writeKey(cloud, 'mine', (await ec2<{ KeyMaterial: string }>('create-key-pair', '--key-name', 'mine')).KeyMaterial);
    await ec2('authorize-security-group-ingress', '--group-name', 'default', '--protocol', 'tcp', '--port', '22', '--cidr', '0.0.0.0/0');
    await writeFile(join(cloud.folder, 'user-data'), userData);
    const launched = await ec2<{ Instances: { InstanceId: string }[] }>(
      'run-instances', '--image-id', ImageId, '--instance-type', 'm1.small', '--key-name', 'mine', '--user-data', `file://${join(cloud.folder, 'user-data')}`,
    );
    instanceId = launched.Instances[0]?.InstanceId ?? '';
    bootId = '';
  });
  afterAll(async () => {
    await cloud?.down();
  });
  onFailureShow(() => cloud);

  it('lets its user in with the key, and cloud-init ends well with the data source Ec2', async () => {
    const report = await untilBooted();
    expect(report).toMatch(/^status: done$/m);
    expect(report).toContain('DataSourceEc2');
  }, testTimeoutMs);

  it('found the data source by SMBIOS alone, and used session tokens', async () => {
    const identified = await inGuest('cat /run/cloud-init/ds-identify.log');
    for (const line of ['no datasource_list found', "ec2 platform is 'AWS'", 'Found single datasource: Ec2']) expect(identified).toContain(line);
    expect(await inGuest('sudo cat /var/log/cloud-init.log | grep "Read from .*/latest/api/token"')).toContain('http://169.254.169.254/latest/api/token (200,');
  });

  it('took its user data, and grew its root to what the type promises', async () => {
    expect(await inGuest('cat /etc/lighthouse; hostname')).toBe('written by user data\nlighthouse');
    expect(Number(await inGuest("df -k / | awk 'NR == 2 { print $2 }'"))).toBeGreaterThan(19 * 2 ** 20);
  });

  it('is the same machine after a reboot', async () => {
    const hostKey = await inGuest('echo kept > kept; sync; cat /etc/ssh/ssh_host_ed25519_key.pub');
    await ec2('reboot-instances', '--instance-ids', instanceId);
    expect(await untilBooted()).toMatch(/^status: done$/m);
    expect(await inGuest('cat kept /etc/ssh/ssh_host_ed25519_key.pub')).toBe(`kept\n${hostKey}`);
  }, testTimeoutMs);

  it('is the same machine after stop and start', async () => {
    const hostKey = await inGuest('cat /etc/ssh/ssh_host_ed25519_key.pub');
    await ec2('stop-instances', '--instance-ids', instanceId);
    await ec2('wait', 'instance-stopped', '--instance-ids', instanceId);
    await ec2('start-instances', '--instance-ids', instanceId);
    expect(await untilBooted()).toMatch(/^status: done$/m);
    expect(await inGuest('cat kept /etc/ssh/ssh_host_ed25519_key.pub')).toBe(`kept\n${hostKey}`);
  }, testTimeoutMs);

  it('leaves nothing when it is terminated', async () => {
    await ec2('terminate-instances', '--instance-ids', instanceId);
    await ec2('wait', 'instance-terminated', '--instance-ids', instanceId);
    await expectNoLeftovers(cloud);
  });
});
