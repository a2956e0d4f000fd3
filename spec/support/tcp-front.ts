// One address for several servers, as a balancer gives: spec/support/tcp-balancer.mjs as a process of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { freePort } from './free-port.ts';

export interface TcpFront {
  readonly url: string;
  close(): Promise<void>;
}

/** Each connection goes to the next of the ports that takes it. */
export async function startFront(ports: readonly number[]): Promise<TcpFront> {
  const port = await freePort();
  const child = spawn(process.execPath, [join(import.meta.dirname, 'tcp-balancer.mjs'), `127.0.0.1:${port}`, ...ports.map((one) => `127.0.0.1:${one}`)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  process.once('exit', () => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
