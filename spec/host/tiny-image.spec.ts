// The ready-made image, booted under QEMU with its user-mode network: address, metadata, key, user data, disk, reboot and power button.
import { spawn, execFileSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';

const image = fileURLToPath(new URL('../../build/tiny', import.meta.url));
const manifest = JSON.parse(readFileSync(join(image, 'manifest.json'), 'utf8')) as {
  kernelArguments: string;
  files: { name: string; sha256: string; sizeBytes: number }[];
};
const run = createRun({ log: silentLog });
const userData = '#!/bin/sh\necho "user data in $(hostname)"\necho once >> /root/user-data-ran\n';
const requests: string[] = [];
let folder: string;
let metadata: Server;
let guest: ChildProcess;
let sshPort: number;

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return typeof address === 'object' && address !== null ? address.port : 0;
};

/** Version 2 only: without its token everything is refused. */
async function startMetadata(publicKey: string): Promise<number> {
  const pages: Record<string, string> = { 'meta-data/instance-id': 'i-spec', 'meta-data/public-keys/0/openssh-key': publicKey, 'user-data': userData };
  metadata = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    if (request.method === 'PUT') return response.end('the-token');
    const page = pages[request.url?.replace('/latest/', '') ?? ''];
    response.statusCode = request.headers['x-aws-ec2-metadata-token'] !== 'the-token' ? 401 : page === undefined ? 404 : 200;
    return response.end(response.statusCode === 200 ? page : '');
  }).listen(0, '127.0.0.1');
  await once(metadata, 'listening');
  const address = metadata.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function until<T>(what: string, look: () => Promise<T | undefined> | T | undefined, timeoutMs = 200_000): Promise<T> {
  const deadline = systemClock.now() + timeoutMs;
  for (;;) {
    const value = await look();
    if (value !== undefined) return value;
    if (systemClock.now() > deadline) throw new Error(`${what}; the console says:\n${consoleText()}`);
    await systemClock.sleep(100);
  }
}

const consoleText = (): string => readFileSync(join(folder, 'console'), 'utf8');
const onConsole = (text: string, times = 1) => until(`not ${times} × "${text}"`, () => (consoleText().split(text).length > times ? true : undefined));

const ssh = async (command: string): Promise<string | undefined> => {
  const settings = ['BatchMode=yes', 'ConnectTimeout=3', 'StrictHostKeyChecking=accept-new', `UserKnownHostsFile=${folder}/known_hosts`];
  const options = settings.flatMap((text) => ['-o', text]);
  return run('ssh', ['-F', '/dev/null', ...options, '-i', join(folder, 'key'), '-p', String(sshPort), 'root@127.0.0.1', command], { timeoutMs: 10_000 })
    .then(({ stdout }) => stdout, () => undefined);
};

function monitor(command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(folder, 'monitor'), () => socket.write(`${command}\n`, () => setTimeout(() => socket.end(resolve), 200)));
    socket.on('error', reject);
    socket.resume();
  });
}

beforeAll(async () => {
  folder = mkdtempSync('/tmp/novact-spec-tiny-');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')]);
  const metadataPort = await startMetadata(readFileSync(join(folder, 'key.pub'), 'utf8'));
  sshPort = await freePort();
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', join(image, 'root.ext4'), '-F', 'raw', join(folder, 'disk'), '2G']);
  await run('touch', [join(folder, 'console')]);
  guest = spawn('qemu-system-x86_64', [
    '-accel', 'tcg,tb-size=32', '-cpu', 'max', '-m', '128', '-nodefaults', '-no-user-config', '-display', 'none', '-serial', `file:${folder}/console`,
    '-monitor', `unix:${folder}/monitor,server,nowait`,
    '-kernel', join(image, 'vmlinuz'), '-initrd', join(image, 'initrd.gz'), '-append', manifest.kernelArguments,
    '-drive', `file=${folder}/disk,if=virtio,format=qcow2`, '-device', 'virtio-net-pci,netdev=n', '-device', 'virtio-rng-pci', '-netdev',
    `user,id=n,net=169.254.0.0/16,hostname=i-spec,hostfwd=tcp:127.0.0.1:${sshPort}-:22,guestfwd=tcp:169.254.169.254:80-cmd:nc 127.0.0.1 ${metadataPort}`,
  ], { stdio: 'ignore' });
  await onConsole('guest: ready at');
}, 240_000);

afterAll(() => {
  guest?.kill('SIGKILL');
  metadata?.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('novact-tiny', () => {
  it('is what its manifest says', () => {
    for (const { name, sha256, sizeBytes } of manifest.files) {
      const content = readFileSync(join(image, name));
      expect([content.length, createHash('sha256').update(content).digest('hex')], name).toEqual([sizeBytes, sha256]);
    }
  });

  it('lets in the holder of the key, on a root as large as its disk', async () => {
    const [total] = (await until('no login', () => ssh("df -k / | awk 'NR == 2 { print $2 }'"))).trim().split('\n');
    expect(Number(total)).toBeGreaterThan(1.8 * 1024 * 1024);
  });

  it('asks for metadata with a token, and shows its host key on the console', async () => {
    expect(requests[0]).toBe('PUT /latest/api/token');
    const [, , key = ''] = readFileSync(join(folder, 'known_hosts'), 'utf8').split('\n')[0]?.split(' ') ?? [];
    const fingerprint = createHash('sha256').update(Buffer.from(key, 'base64')).digest('base64').replace(/=+$/, '');
    expect(consoleText()).toContain(`SHA256:${fingerprint}`);
  });

  it('runs user data once, keeps its files and its host key over a reboot', async () => {
    await onConsole('guest: user-data ended with code 0');
    expect(consoleText()).toContain('user data in i-spec');
    await ssh('echo kept > /root/file; sync; reboot');
    await onConsole('guest: ready at', 2);
    expect(await until('no login after the reboot', () => ssh('cat /root/file /root/user-data-ran'))).toBe('kept\nonce\n');
  });

  it('grows its root when its disk grows under it', async () => {
    await monitor('block_resize virtio0 4G');
    const sizeKiB = async () => Number((await ssh("df -k / | awk 'NR == 2 { print $2 }'"))?.trim());
    await until('the root does not grow', async () => ((await sizeKiB()) > 3.6 * 1024 * 1024 ? true : undefined));
  });

  it('ends cleanly when the power button is pressed', async () => {
    const ended = once(guest, 'exit');
    await monitor('system_powerdown');
    await ended;
    expect(consoleText()).toContain('guest: power button');
    expect((await run('qemu-img', ['check', join(folder, 'disk')])).stdout).toContain('No errors');
  });
});
