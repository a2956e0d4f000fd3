// Clients that are commands: started each time (rclone), or in children of a process that has loaded their modules (s3cmd, awscli: command-server.py).
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createRun } from '../../../src/lib/exec.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { python } from '../../support/clients.ts';

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command. An exit code that is not 0 is an error unless `code` asks for it. */
export type Command = (args: readonly string[], options?: { readonly code?: number; readonly environment?: Readonly<Record<string, string>> }) => Promise<Said>;

export interface CommandServer {
  readonly command: Command;
  close(): Promise<void>;
}

const run = createRun({ log: silentLog });
const timeoutMs = 120_000;

export function startedEachTime(program: string, environment: Readonly<Record<string, string>>): Command {
  return async (args, { code = 0, environment: more = {} } = {}) => run(program, args, { timeoutMs, env: { ...environment, ...more }, okCodes: [code] });
}

interface Waiting {
  resolve(said: Said): void;
  reject(error: Error): void;
}

/** `modules`: what the program loads. Commands wait for each other. */
export function openCommandServer(program: string, modules: readonly string[], environment: Readonly<Record<string, string>>): CommandServer {
  const child = spawn(python, [join(import.meta.dirname, 'command-server.py'), program, modules.join(',')], {
    stdio: ['pipe', 'pipe', 'inherit'], env: { PATH: process.env['PATH'], ...environment },
  });
  const waiting: Waiting[] = [];
  child.stdin.on('error', () => undefined);
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.resolve(JSON.parse(line) as Said));
  const exited = new Promise<void>((resolve) => {
    child.once('close', () => {
      for (const { reject } of waiting.splice(0)) reject(new Error(`the process for ${program} ended`));
      resolve();
    });
  });
  return {
    async command(args, { code = 0, environment: more = {} } = {}) {
      const said = await new Promise<Said>((resolve, reject) => {
        waiting.push({ resolve, reject });
        child.stdin.write(`${JSON.stringify({ program, arguments: args, environment: more })}\n`);
      });
      if (said.code !== code) throw new Error(`${program} ${args.join(' ')}: exit code ${said.code}, not ${code}\n${said.stdout}\n${said.stderr}`);
      return said;
    },
    async close() {
      child.stdin.end();
      await exited;
    },
  };
}
