// A whole test host on this machine: its own network namespace, mount namespace and libvirtd, so that specs with real guests
// touch neither the machine's own libvirt nor one another. Root only.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';

export interface TestHost {
  /** Its network namespace. */
  readonly namespace: string;
  readonly directory: string;
  readonly socket: string;
  /** For our driver: `qemu:///system?socket=…`. */
  libvirtUri(kind: 'qemu' | 'lxc'): string;
  /** Runs a command inside its network namespace. */
  readonly run: Run;
  /** The independent oracle. Trimmed output. */
  virsh(kind: 'qemu' | 'lxc', ...args: readonly string[]): Promise<string>;
  /** A bridge without an uplink, up. Safe to repeat. */
  ensureBridge(name: string, address?: string): Promise<void>;
  /** `kill -9`; guests go on. */
  killLibvirtd(): Promise<void>;
  /** Starts libvirtd again if it is not running. */
  startLibvirtd(): Promise<void>;
  /** For failures: whether libvirtd runs, how often it crashed, and the last that it complained of, in one line. */
  libvirtdState(): Promise<string>;
  /** Guests destroyed, daemon stopped, namespace and folder gone. Safe to repeat. */
  down(): Promise<void>;
}

export interface TestHostOptions {
  /** Whom QEMU runs as. `libvirt-qemu`: as on a stock Debian, with disks relabelled. */
  readonly guestUser?: 'root' | 'libvirt-qemu';
  /** A folder with ca-cert.pem and {server,client}-{cert,key}.pem: its libvirtd and its migrations speak TLS. */
  readonly certificates?: string;
}

const script = fileURLToPath(new URL('./host-up.sh', import.meta.url));

/** Starts the host, or finds it running. `name` is the namespace: begin it with your task's or spec's name. */
export async function up(name: string, options: TestHostOptions = {}): Promise<TestHost> {
  const directory = `/tmp/novact-host-${name}`;
  const outside = createRun({ log: silentLog });
  const inside = createRun({ log: silentLog, networkNamespace: name });
  const call = async (verb: 'up' | 'kill' | 'down'): Promise<string> => {
    const env = { GUEST_USER: options.guestUser ?? 'root', CERTIFICATES: options.certificates ?? '' };
    const { stdout } = await outside(script, [verb, name, directory], { timeoutMs: 60_000, env });
    return stdout.trim();
  };
  const socket = await call('up');
  return {
    namespace: name,
    directory,
    socket,
    run: inside,
    libvirtUri: (kind) => `${kind}:///system?socket=${socket}`,
    virsh: async (kind, ...args) => {
      const { stdout } = await outside('virsh', ['-q', '-c', `${kind}+unix:///system?socket=${socket}`, ...args], { timeoutMs: 30_000 });
      return stdout.trim();
    },
    ensureBridge: (bridge, address) => ensureBridge(inside, bridge, address),
    killLibvirtd: async () => void (await call('kill')),
    startLibvirtd: async () => void (await call('up')),
    libvirtdState: () => libvirtdState(directory),
    down: async () => {
      const said = await call('down');
      if (said !== '') process.stderr.write(`${name}: ${said}\n`);
    },
  };
}

async function libvirtdState(directory: string): Promise<string> {
  const read = (path: string) => readFile(path, 'utf8').catch(() => '');
  const [pid, crashes, complaints] = await Promise.all(['run/libvirtd.pid', 'log/libvirtd.out', 'log/libvirtd.log'].map((name) => read(join(directory, name))));
  const state = /^State:\s+(\S)/m.exec(await read(`/proc/${Number(pid)}/status`))?.[1] ?? 'gone';
  const crashed = crashes?.match(/crashed with signal/g)?.length ?? 0;
  return `libvirtd ${Number(pid)} is ${state}, crashed ${crashed} times; it last said: ${complaints?.trimEnd().split('\n').at(-1)?.slice(0, 200) ?? ''}`;
}

async function ensureBridge(run: Run, bridge: string, address: string | undefined): Promise<void> {
  const there = await run('ip', ['link', 'show', bridge], { okCodes: [0, 1] });
  if (there.code !== 0) await run('ip', ['link', 'add', bridge, 'type', 'bridge', 'forward_delay', '0']);
  if (address !== undefined) await run('ip', ['addr', 'replace', address, 'dev', bridge]);
  await run('ip', ['link', 'set', bridge, 'up']);
}
