// What the endpoints prove themselves by: which names, and when it is made anew.
import { expect, it } from 'vitest';
import { loadSettings } from '../../../src/config/load.ts';
import type { Issued } from '../../../src/drivers/certificates/driver.ts';
import { silentLog as log } from '../../../src/lib/log.ts';
import { bucketDomains, endpointHosts, keepIdentity } from '../../../src/roles/endpoint-identity.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const around = { isRoot: true, home: '/root', hostname: 'host1', installation: '/opt/novact' };
const dayMs = 86_400_000;
const machine = { hostname: 'host1.example', addresses: ['10.0.0.7', 'fd00::7'] };
const settingsWith = (environment: Record<string, string>) => loadSettings({ environment, directory: '/nowhere', around }).settings;

it('has the names of the machine, of the URLs and of the settings, and buckets before the S3 ones', () => {
  expect(endpointHosts(settingsWith({}), machine)).toEqual([
    'localhost', '127.0.0.1', '::1', 'host1', 'host1.example', 's3.localhost', '*.s3.localhost',
  ]);
  const known = settingsWith({
    NOVACT_BIND: '::', NOVACT_ADDRESS: '192.0.2.7', NOVACT_EC2_URL: 'https://[2001:db8::1]:8773', NOVACT_S3_URL: 'https://S3.example.com',
    NOVACT_TLS_NAMES: 'cloud.example.com,192.0.2.9,cloud',
  });
  expect(bucketDomains(known)).toEqual(['s3.example.com', 'cloud.example.com']);
  expect(endpointHosts(known, machine)).toEqual([
    'localhost', '127.0.0.1', '::1', 'host1', 'host1.example', '10.0.0.7', 'fd00::7', '192.0.2.7', '2001:db8::1', 'cloud.example.com', '192.0.2.9', 'cloud',
    's3.localhost', 's3.example.com', '*.s3.localhost', '*.s3.example.com', '*.cloud.example.com',
  ]);
  expect(() => settingsWith({ NOVACT_TLS_NAMES: 'a b' })).toThrow('names of hosts or addresses are needed');
});

it('is made anew a month before it ends, or when the names are others; a failure is tried again', async () => {
  const clock = createManualClock();
  let [made, isBroken, hosts] = [0, false, ['a']];
  const seen: string[] = [];
  const kept = await keepIdentity({
    clock, log, hosts: () => hosts,
    issue: async (names): Promise<Issued> => {
      if (isBroken) throw new Error('the database is away');
      made += 1;
      return { serial: String(made), certificate: `${made} ${names.join()}`, key: 'key', expiresAt: new Date(clock.now() + 90 * dayMs) };
    },
  });
  kept.onRenewed(({ certificate }) => void seen.push(certificate));
  await clock.advance(59 * dayMs);
  expect([made, kept.current().certificate]).toEqual([1, '1 a']);
  isBroken = true;
  await clock.advance(2 * dayMs);
  expect([made, seen]).toEqual([1, []]);
  isBroken = false;
  await clock.advance(dayMs / 12);
  expect([made, kept.current().certificate, seen]).toEqual([2, '2 a', ['2 a']]);
  hosts = ['a', 'b'];
  await clock.advance(dayMs / 12);
  expect([made, kept.current().certificate, seen]).toEqual([3, '3 a,b', ['2 a', '3 a,b']]);
  kept.stop();
  await clock.advance(100 * dayMs);
  expect([made, clock.timers]).toEqual([3, 0]);
});
