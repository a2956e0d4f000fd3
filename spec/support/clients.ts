// Debian's own clients, unmodified, inside the namespace of a cloud: awscli and s3cmd as commands, boto3 as a process that is asked for
// one call after another (python needs a second to start), and ssh into guests.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { RunResult } from '../../src/lib/exec.ts';
import type { CloudProcess } from './cloud-process.ts';
import { waitFor } from './patience.ts';

/** Where clients run: a namespace, a folder for their files, and what `novarc` exports. */
export type ClientPlace = Pick<CloudProcess, 'folder' | 'state' | 'environment' | 'run'> & { readonly host: { readonly namespace: string } };

/** Debian's python: another one may be first on the path. */
export const python = '/usr/bin/python3';

/** The output of `aws SERVICE ARGS`, parsed as JSON; undefined when there is none. */
export async function aws<T = unknown>(cloud: ClientPlace, service: 'ec2' | 's3api' | 'sts', ...args: readonly string[]): Promise<T> {
  const endpoint = cloud.environment[service === 's3api' ? 'AWS_ENDPOINT_URL_S3' : 'AWS_ENDPOINT_URL_EC2'] ?? '';
  const { stdout } = await cloud.run('/usr/bin/aws', ['--endpoint-url', endpoint, '--output', 'json', service, ...args], { timeoutMs: 150_000 });
  return (stdout.trim() === '' ? undefined : JSON.parse(stdout)) as T;
}

export function s3cmd(cloud: ClientPlace, ...args: readonly string[]): Promise<RunResult> {
  return cloud.run('/usr/bin/s3cmd', ['-c', join(cloud.state, 's3cfg'), '--no-progress', ...args], { timeoutMs: 120_000 });
}

export interface Login {
  readonly address: string;
  readonly keyFile: string;
}

const sshOptions = ['BatchMode=yes', 'ConnectTimeout=3', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'ServerAliveInterval=5'];

/** What the command printed, trimmed. `tries` before the guest answers are the caller's: see `untilSsh`. */
export async function ssh(cloud: ClientPlace, { address, keyFile }: Login, command: string, timeoutMs = 30_000): Promise<string> {
  const options = sshOptions.flatMap((text) => ['-o', text]);
  return (await cloud.run('ssh', ['-F', '/dev/null', '-n', ...options, '-i', keyFile, `root@${address}`, command], { timeoutMs })).stdout.trim();
}

/** The first answer of a guest that is still booting. */
export function untilSsh(cloud: ClientPlace, login: Login, command: string, timeoutMs = 90_000): Promise<string> {
  return waitFor(`ssh root@${login.address} ${command}`, { timeoutMs }, () => ssh(cloud, login, command));
}

export async function writeKey(cloud: ClientPlace, name: string, material: string): Promise<string> {
  const path = join(cloud.folder, `${name}.pem`);
  await writeFile(path, material, { mode: 0o600 });
  return path;
}

/** What boto3 raised: botocore's own reading of the answer. */
export class ClientError extends Error {
  override readonly name = 'ClientError';
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status: number) {
    super(`${code} (${status}): ${message}`);
    this.code = code;
    this.status = status;
  }
}

export interface Boto3 {
  /** `ec2.run_instances(**parameters)`; `paginate:NAME` gives all pages, `wait:NAME` waits. */
  call<T = Record<string, unknown>>(service: 'ec2' | 's3' | 'sts', method: string, parameters?: Record<string, unknown>): Promise<T>;
  close(): Promise<void>;
}

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** A boto3 session in the namespace, with the founder's key or another one. It does not retry, so that specs see every answer. */
export function openBoto3(cloud: ClientPlace, key?: AccessKey): Boto3 {
  const own = key === undefined ? {} : { AWS_ACCESS_KEY_ID: key.accessKeyId, AWS_SECRET_ACCESS_KEY: key.secretAccessKey };
  const child = spawn('ip', ['netns', 'exec', cloud.host.namespace, python, join(import.meta.dirname, '../clients/boto3-session.py')], {
    stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, HOME: cloud.folder, ...cloud.environment, ...own },
  });
  return new Boto3Session(child);
}

class Boto3Session implements Boto3 {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<void>;
  #next = 0;

  constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    child.stdin.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', (line) => this.#onAnswer(line));
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => {
        for (const { reject } of this.#waiting.values()) reject(new Error('the boto3 process ended'));
        this.#waiting.clear();
        resolve();
      });
    });
  }

  call<T>(service: string, method: string, parameters: Record<string, unknown> = {}): Promise<T> {
    const id = ++this.#next;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin.write(`${JSON.stringify({ id, service, method, parameters })}\n`);
    });
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#exited;
  }

  #onAnswer(line: string): void {
    const answer = JSON.parse(line) as { id: number; value?: unknown; error?: { code: string; message: string; status: number } };
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.error === undefined) waiting?.resolve(answer.value as never);
    else waiting?.reject(new ClientError(answer.error.code, answer.error.message, answer.error.status));
  }
}
