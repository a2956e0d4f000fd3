// What a large object costs the server in memory, put and got: the most that was resident, as the kernel kept it.
import { readFileSync, writeFileSync } from 'node:fs';
import { apply } from './load.ts';
import type { Server } from './servers.ts';
import { atMost, type BenchRow } from '../row.ts';

const mib = 1024 * 1024;
/** 150 MB. */
export const memoryMiBMax = 143;

const ofStatus = (pid: number, name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

export interface Moved {
  readonly beforeMiB: number;
  readonly mostMiB: number;
  readonly mibPerSecond: number;
}

export async function moveOne(server: Pick<Server, 'port' | 'pid' | 'request'>, method: 'GET' | 'PUT', path: string, sizeMiB: number): Promise<Moved> {
  const body = method === 'PUT' ? { piece: Buffer.alloc(mib, 'novact'), times: sizeMiB } : undefined;
  const beforeMiB = ofStatus(server.pid, 'VmRSS');
  writeFileSync(`/proc/${server.pid}/clear_refs`, '5'); // the peak begins anew
  const ms = await apply({ port: server.port, connections: 1, requests: 1, request: () => server.request(method, path, body) });
  return { beforeMiB, mostMiB: ofStatus(server.pid, 'VmHWM'), mibPerSecond: sizeMiB / (ms / 1000) };
}

export async function measureMemory(product: Server, sizeMiB: number): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const method of ['PUT', 'GET'] as const) {
    const { beforeMiB, mostMiB, mibPerSecond } = await moveOne(product, method, '/bench/large', sizeMiB);
    rows.push(
      { name: `${method} of ${sizeMiB} MiB, ${product.name}`, value: mibPerSecond, unit: 'MiB/s' },
      {
        name: '  most that was resident in it', value: mostMiB, unit: 'MiB', baseline: `before, ${beforeMiB.toFixed(0)} MiB`, ratio: mostMiB / beforeMiB,
        ...(product.name.startsWith('objectstore') ? { target: atMost(mostMiB, memoryMiBMax, 'MiB') } : {}),
      },
    );
  }
  return rows;
}
