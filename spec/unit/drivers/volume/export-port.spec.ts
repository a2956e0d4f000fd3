// The port at which a server of an export listens.
import { describe, expect, it } from 'vitest';
import type { Connection } from '../../../../src/drivers/volume/driver.ts';
import { startAtPort } from '../../../../src/drivers/volume/export-port.ts';

const at = (port: number): Connection => ({ protocol: 'nbd', address: '10.0.0.1', port, exportName: 'vol-0' });
const tried = (portsFree: readonly number[], known?: number, others: readonly Connection[] = []) => {
  const asked: number[] = [];
  const start = async (port: number) => {
    asked.push(port);
    return portsFree.includes(port);
  };
  const chosen = startAtPort({ address: '10.0.0.1', firstPort: 4_000, known, others }, start);
  return chosen.then((port) => ({ port, asked }), (error: Error) => ({ said: error.message, asked }));
};

describe('the port of an export', () => {
  it('is the first that no other export has and that nobody else listens at', async () => {
    expect(await tried([4_000, 4_001])).toEqual({ port: 4_000, asked: [4_000] });
    expect(await tried([4_003], undefined, [at(4_000), { protocol: 'file', path: '/a' }, at(4_002)])).toEqual({ port: 4_003, asked: [4_001, 4_003] });
  });

  it('is that which it had, or none: its guests come back to it', async () => {
    expect(await tried([4_000, 4_007], 4_007)).toEqual({ port: 4_007, asked: [4_007] });
    expect(await tried([4_000], 4_007)).toEqual({ said: 'nothing can listen at 10.0.0.1, port 4007: somebody else does', asked: [4_007] });
  });

  it('is looked for so many times and no more', async () => {
    const { asked } = await tried([]);
    expect(asked).toEqual(Array.from({ length: 50 }, (_, index) => 4_000 + index));
  });
});
