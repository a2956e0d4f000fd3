// Asks a Redis on a unix socket whether it serves: loading its file, it answers but serves nothing yet.
import { createConnection } from 'node:net';
import type { Clock } from '../../lib/clock.ts';

export type RedisAnswer = 'ready' | 'loading' | 'silent';

const timeoutMs = 2_000;

export function probeRedis({ socket, password, clock }: { socket: string; password: string; clock: Clock }): Promise<RedisAnswer> {
  return new Promise((resolve) => {
    const connection = createConnection({ path: socket });
    let heard = '';
    const end = (answer: RedisAnswer) => {
      late.cancel();
      connection.destroy();
      resolve(answer);
    };
    const late = clock.after(timeoutMs, () => end('silent'));
    connection.once('error', () => end('silent'));
    connection.once('close', () => end('silent'));
    connection.once('connect', () => connection.write(`AUTH ${password}\r\nPING\r\n`));
    connection.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1');
      if (heard.includes('+PONG\r\n')) end('ready');
      else if (heard.includes('-LOADING')) end('loading');
      else if (/^-(?!LOADING).*\r\n-/s.test(heard)) end('silent');
    });
  });
}
