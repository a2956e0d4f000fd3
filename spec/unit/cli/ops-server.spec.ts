// The ops server: open pages for everyone on the machine, inner ones for the holder of the token.
import { createServer } from 'node:net';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import { startOpsServer, type OpsServer } from '../../../src/api/ops/server.ts';
import type { OpsSource } from '../../../src/api/ops/source.ts';
import { silentLog } from '../../../src/lib/log.ts';

const token = 't'.repeat(43);
const servers: OpsServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

const explained = (id: string) => ({ id, kind: 'instance', state: 'running', since: 'T', host: undefined, reason: undefined, operations: [] });

const source = (isWell = true): OpsSource => ({
  registry: new Registry(),
  health: () => Promise.resolve([{ name: 'database', ok: isWell }]),
  status: () => Promise.resolve({ hosts: [], instances: { running: 1 }, images: {}, operations: {}, deadLetters: 0 }),
  actors: () => [],
  manage: async ({ category }) => (category === 'host' ? { outcome: 'done', result: [1] } : { outcome: 'refused', message: 'no' }),
  explain: (id) => Promise.resolve(id === 'i-1' ? explained(id) : undefined),
});

async function start(current: OpsSource | undefined) {
  const server = await startOpsServer({ port: 0, token, log: silentLog, facts: () => ({ pid: 7 }), source: () => current });
  servers.push(server);
  return async (path: string, headers: Record<string, string> = {}, method = 'GET', body?: string) => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { headers, method, ...(body === undefined ? {} : { body }) });
    return { status: response.status, text: await response.text() };
  };
}
const allowed = { authorization: `Bearer ${token}` };

describe('the ops server', () => {
  it('tells health: starting, ok, failing', async () => {
    expect(await (await start(undefined))('/health')).toMatchObject({ status: 503, text: expect.stringContaining('starting') });
    expect(await (await start(source()))('/health')).toMatchObject({ status: 200, text: expect.stringContaining('ok') });
    expect(await (await start(source(false)))('/health')).toMatchObject({ status: 503, text: expect.stringContaining('failing') });
  });

  it('serves metrics without a token', async () => {
    expect((await (await start(source()))('/metrics')).status).toBe(200);
  });

  it.each(['/status', '/actors', '/explain/i-1', '/none'])('keeps %s for the holder of the token', async (path) => {
    const get = await start(source());
    expect((await get(path)).status).toBe(401);
    expect((await get(path, { authorization: `Bearer ${'x'.repeat(43)}` })).status).toBe(401);
    expect((await get(path, allowed)).status).toBe(path === '/none' ? 404 : 200);
  });

  it('explains what is there, and answers 404 for what is not', async () => {
    const get = await start(source());
    expect(JSON.parse((await get('/explain/i-1', allowed)).text)).toMatchObject({ id: 'i-1', state: 'running' });
    expect((await get('/explain/i-2', allowed)).status).toBe(404);
    expect((await get('/explain/..%2Fx', allowed)).status).toBe(404);
  });

  it('only reads', async () => {
    expect((await (await start(source()))('/status', allowed, 'POST')).status).toBe(405);
  });

  it('performs manage commands for the holder of the token, and only well-formed ones', async () => {
    const get = await start(source());
    const body = JSON.stringify({ category: 'host', verb: 'list', args: {} });
    expect((await get('/manage', {}, 'POST', body)).status).toBe(401);
    expect(JSON.parse((await get('/manage', allowed, 'POST', body)).text)).toEqual({ outcome: 'done', result: [1] });
    for (const wrong of ['', '{', '{"category":1}', JSON.stringify({ category: 'x'.repeat(70_000), verb: 'y', args: {} })]) {
      expect((await get('/manage', allowed, 'POST', wrong)).status).toBe(400);
    }
    expect((await (await start(undefined))('/manage', allowed, 'POST', body)).status).toBe(503);
  });

  it('says which setting to change when its port is taken', async () => {
    const blocker = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => blocker.once('listening', resolve));
    const bound = blocker.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
    await expect(startOpsServer({ port, token, log: silentLog, facts: () => ({}), source: () => undefined })).rejects.toMatchObject({
      name: 'SetupError', message: expect.stringContaining('NOVACT_OPS_PORT'),
    });
    blocker.close();
  });
});
