// The real product as a user starts it to try it: `bin/novact up` on simulated guests, in a state folder of its own with a private PostgreSQL, on
// free ports. It needs neither root nor a network namespace: for whatever asks for calls and objects and not for guests.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { z } from 'zod';
import { createRun, type RunResult } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { freePort } from './free-port.ts';
import { parseNovarc } from './novarc.ts';
import { productCommand, withoutNovact } from './product-command.ts';

const readyTimeoutMs = 240_000;
const stopTimeoutMs = 60_000;
const keyType = z.object({ accessKey: z.string(), secretKey: z.string() });
const run = createRun({ log: silentLog });

export interface SimCloudProcess {
  /** For files of whoever uses it. It goes with the cloud. */
  readonly folder: string;
  readonly state: string;
  readonly s3Port: number;
  readonly pid: number;
  /** What `novarc` exports. */
  readonly environment: Readonly<Record<string, string>>;
  /** Runs `novact ARGS` on this state. */
  novact(...args: readonly string[]): Promise<RunResult>;
  /** A user who is nobody special, with a project of that name and a key for it. */
  createProject(name: string): Promise<ProjectKey>;
  /** Ends it and removes everything. */
  close(): Promise<void>;
}

export interface ProjectKey {
  readonly projectId: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** `more`: settings besides. */
export async function startSimCloudProcess(name: string, more: Readonly<Record<string, string>> = {}): Promise<SimCloudProcess> {
  const folder = mkdtempSync(join(tmpdir(), `${name}-`));
  chmodSync(folder, 0o711); // the account of the database goes through it
  const state = join(folder, 'state');
  const s3Port = await freePort();
  const settings: Record<string, string> = { NOVACT_STATE: state, NOVACT_HYPERVISOR: 'sim', NOVACT_S3_PORT: String(s3Port), ...more };
  for (const word of ['API', 'METADATA', 'DASHBOARD', 'OPS']) settings[`NOVACT_${word}_PORT`] = String(await freePort());
  const { command: [file, ...first], environment } = productCommand();
  const env = { ...environment, ...settings };
  const child = spawn(file, [...first, 'up'], { cwd: folder, env: { ...withoutNovact(process.env), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = new Promise<number | null>((resolve) => void child.once('exit', resolve));
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  const close = async () => {
    child.kill('SIGINT');
    const timer = setTimeout(end, stopTimeoutMs);
    await exited;
    clearTimeout(timer);
    process.off('exit', end);
    rmSync(folder, { recursive: true, force: true });
  };
  const novact = (...args: readonly string[]) => run(file, [...first, ...args], { cwd: folder, env, timeoutMs: 180_000 });
  try {
    await untilReady(child);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    folder, state, novact, close, s3Port, pid: child.pid ?? 0,
    environment: parseNovarc(readFileSync(join(state, 'novarc'), 'utf8')),
    async createProject(project) {
      const script = join(folder, `create-${project}`);
      writeFileSync(script, [`user create ${project}`, `project create ${project} ${project}`, `user key ${project} ${project} --json`].join('\n'));
      const { stdout } = await novact('manage', 'shell', 'script', script);
      const key = keyType.parse(JSON.parse(stdout.slice(stdout.indexOf('{'))));
      return { projectId: /\d{12}/.exec(stdout)?.[0] ?? '', accessKeyId: key.accessKey, secretAccessKey: key.secretKey };
    },
  };
}

function untilReady(child: ChildProcessByStdio<null, Readable, Readable>): Promise<void> {
  let said = '';
  return new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready after ${readyTimeoutMs} ms:\n${said}`)), readyTimeoutMs);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        said = `${said}${chunk.toString('utf8')}`.slice(-10_000);
        if (!/^novact is ready/m.test(said)) return;
        clearTimeout(timer);
        resolve();
      });
    }
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`it ended with ${code} before it was ready:\n${said}`));
    });
  });
}
