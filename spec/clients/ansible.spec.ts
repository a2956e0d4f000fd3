// Ansible, as Debian has it, with the modules of amazon.aws, against the whole product with its defaults: a playbook that makes a shop's worth of things,
// logs in to the guest, writes to its volume, and puts everything away.
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { hostLeftovers } from '../support/leftovers.ts';

const story = resolve(import.meta.dirname, 'ansible-story.yml');
const environment = {
  ANSIBLE_COLLECTIONS_PATH: resolve(import.meta.dirname, '../../build/ansible'), ANSIBLE_LOCALHOST_WARNING: 'False', ANSIBLE_DEPRECATION_WARNINGS: 'False',
  // Debian's python has boto3; another one may be first on the path.
  ANSIBLE_PYTHON_INTERPRETER: '/usr/bin/python3', ANSIBLE_NOCOLOR: '1', LC_ALL: 'C.UTF-8',
};
const storyMs = 600_000;
let cloud: CloudProcess;

beforeAll(async () => {
  cloud = await startCloudProcess('clients-ansible', { guests: 'qemu' });
  await cloud.novact('manage', 'floating', 'create', '192.0.2.16/30');
  await cloud.run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', 'id']);
});
afterAll(async () => {
  await cloud?.down();
});
onFailureShow(() => cloud);

it('plays the story of an instance with a volume, an address, an image and a bucket, and nothing is left', { timeout: storyMs + 10_000 }, async () => {
  const playbook = ['/usr/bin/ansible-playbook', '-i', 'localhost,', story];
  const { stdout, stderr } = await cloud.run('/usr/bin/python3', playbook, { timeoutMs: storyMs, env: environment, okCodes: [0, 2, 4] });
  expect(`${stdout}${stderr}`).toMatch(/^localhost .* failed=0 /m);
  expect(stdout).toMatch(/^web .* unreachable=0 +failed=0 /m);
  expect(await hostLeftovers(cloud)).toMatchObject({ domains: [], folders: [], dhcpHosts: [], rules: [], processes: [] });
});
