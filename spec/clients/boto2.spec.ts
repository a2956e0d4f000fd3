// The same story as by awscli, by Debian's boto 2 with signature version 2 over /services/Cloud, from a bundle as euca2ools makes it; guests are
// containers, the database PGlite.
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { python } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { expectNoLeftovers } from '../support/leftovers.ts';

let cloud: CloudProcess;
beforeAll(async () => {
  cloud = await startCloudProcess('clients-boto2', { guests: 'lxc', database: 'pglite' });
});
afterAll(async () => {
  await cloud?.down();
});
onFailureShow(() => cloud);

describe('boto 2 with signature version 2', () => {
  it('S7: uploads a bundle, registers it, runs it, logs in, stops, starts, reboots and terminates', async () => {
    const [signingKey, certificate] = ['pk.pem', 'cert.pem'].map((name) => join(cloud.folder, name)) as [string, string];
    await cloud.run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', signingKey, '-out', certificate, '-subj', '/CN=classic']);
    expect(await cloud.novact('manage', 'certificate', 'add', 'admin', '--pem', await readFile(certificate, 'utf8'))).toContain('added');
    const script = join(import.meta.dirname, 'boto2-story.py');
    const { stdout } = await cloud.run(python, [script, resolve(import.meta.dirname, '../../build/tiny'), signingKey], { timeoutMs: 200_000 });
    expect(JSON.parse(stdout)).toEqual({
      boto: expect.stringMatching(/^2\./),
      regions: ['nova'],
      zones: ['nova'],
      listed: ['parts/initrd.gz', 'parts/root.ext4', 'parts/vmlinuz'],
      noSuchKey: '404 NoSuchKey',
      bundled: [['aki-', 'kernel', 'available'], ['ami-', 'machine', 'available'], ['ari-', 'ramdisk', 'available']],
      forged: 'failed',
      launched: ['pending', 'pending'],
      groups: ['classic'],
      tagged: true,
      console: true,
      stopped: 'Client.UserInitiatedShutdown',
      fileAfterStart: 'kept',
      reboot: true,
      fileAfterReboot: 'kept',
      errors: {
        'unknown instance': '400 InvalidInstanceID.NotFound',
        'malformed instance': '400 InvalidInstanceID.Malformed',
        'unknown image': '400 InvalidAMIID.NotFound',
        'second group of a name': '400 InvalidGroup.Duplicate',
        'group in use': '400 InvalidGroup.InUse',
        'unknown action': '400 InvalidAction',
        'not built yet': '400 UnsupportedOperation',
      },
      reason: 'Client.UserInitiatedShutdown',
      groupDeleted: true,
      keyDeleted: true,
      keysTagged: ['classic'],
      imageDeregistered: true,
    });
  });

  it('leaves nothing', async () => {
    expect(await cloud.stop()).toBe(0); // PGlite has one owner at a time.
    await expectNoLeftovers(cloud);
  });
});
