// The one way out to commands of the host: argument arrays, always a deadline, always logged, and able to run
// inside a given network namespace, so that a whole host can live in one.
import { spawn } from 'node:child_process';
import { DriverError } from './errors.ts';
import type { Log } from './log.ts';

export interface RunOptions {
  readonly timeoutMs?: number;
  /** Written to standard input. */
  readonly input?: string | Buffer;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Exit codes that are not errors. Default: 0. */
  readonly okCodes?: readonly number[];
  /** Told of standard output as it comes, in pieces of any length. */
  readonly onOutput?: (text: string) => void;
  /** Bytes of output kept, of each stream. Default 8 MiB; more output is an error. */
  readonly outputMax?: number;
}

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type Run = (command: string, args: readonly string[], options?: RunOptions) => Promise<RunResult>;

const timeoutMsDefault = 30_000;
const outputMaxDefault = 8 * 1024 * 1024;

/** A `run` that prefixes every command with `ip netns exec <namespace>` when one is given. Failures are DriverErrors that keep the command's output. */
export function createRun(settings: { log: Log; networkNamespace?: string | undefined }): Run {
  const prefix = settings.networkNamespace === undefined ? [] : ['ip', 'netns', 'exec', settings.networkNamespace];
  return (command, args, options = {}) => {
    const [file = command, ...rest] = [...prefix, command, ...args];
    return runOnce(file, rest, options, settings.log);
  };
}

function runOnce(file: string, args: readonly string[], options: RunOptions, log: Log): Promise<RunResult> {
  const { timeoutMs = timeoutMsDefault, okCodes = [0], outputMax = outputMaxDefault } = options;
  const shown = [file, ...args].join(' ').slice(0, 400);
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: options.cwd,
      env: options.env === undefined ? process.env : { ...process.env, ...options.env },
      signal: options.signal,
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let kept = 0;
    let reason: 'timeout' | 'output' | undefined;
    const stop = (why: 'timeout' | 'output') => {
      reason ??= why;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => stop('timeout'), timeoutMs);
    const keep = (list: Buffer[]) => (chunk: Buffer) => {
      kept += chunk.length;
      if (kept > outputMax) stop('output');
      else list.push(chunk);
    };
    child.stdout.on('data', keep(out));
    if (options.onOutput !== undefined) child.stdout.on('data', (chunk: Buffer) => options.onOutput?.(chunk.toString('utf8')));
    child.stderr.on('data', keep(err));
    child.stdin.on('error', () => undefined); // a command that does not read its input is no error of ours
    child.stdin.end(options.input);
    child.on('error', (cause) => {
      clearTimeout(timer);
      const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
      reject(new DriverError(missing ? 'unsupported' : 'failed', missing ? `${file} is not installed` : `could not run ${shown}`, { cause }));
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      const stdout = Buffer.concat(out).toString('utf8');
      const stderr = Buffer.concat(err).toString('utf8');
      log.debug({ command: shown, code, ms: Math.round(performance.now() - startedAt) }, 'ran');
      if (reason === 'timeout') return reject(new DriverError('timeout', `${shown}: not done after ${timeoutMs} ms`, { output: stderr }));
      if (reason === 'output') return reject(new DriverError('failed', `${shown}: more than ${outputMax} bytes of output`));
      if (code !== null && okCodes.includes(code)) return resolve({ code, stdout, stderr });
      const last = stderr.trim().split('\n').slice(-3).join('; ') || stdout.trim().slice(-300);
      reject(new DriverError('failed', `${shown}: exit code ${code}: ${last}`, { output: stderr || stdout }));
    });
  });
}
