// A session over a daemon that comes and goes.
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lookupByName } from '../../../../src/drivers/hypervisor/libvirt/procedures.ts';
import { Session } from '../../../../src/drivers/hypervisor/libvirt/session.ts';
import { parseLibvirtUri } from '../../../../src/drivers/hypervisor/libvirt/uri.ts';
import { XdrWriter } from '../../../../src/drivers/hypervisor/libvirt/xdr.ts';
import { systemClock as clock } from '../../../../src/lib/clock.ts';
import { silentLog as log } from '../../../../src/lib/log.ts';
import { listen, reply, type PeerCall } from '../../../support/libvirt-peer.ts';

const domain = { name: 'i-1', uuid: Buffer.alloc(16, 7), id: 3 };

describe('the libvirt session', () => {
  let directory: string;
  let server: Server | undefined;
  let session: Session;
  const sockets = new Set<Socket>();
  const types: string[] = [];

  const start = async (onLookUp: (call: PeerCall) => void): Promise<void> => {
    server = await listen(join(directory, 'sock'), (call) => (call.procedure === 316 ? reply(call, Buffer.alloc(4)) : onLookUp(call)));
    server.on('connection', (socket) => sockets.add(socket));
  };
  const stop = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
    server = undefined;
  };
  const answer = (call: PeerCall): void => reply(call, new XdrWriter().domain(domain).bytes());
  const lookUp = (timeoutMs: number) => session.run('look up i-1', timeoutMs, (calls) => calls.call(lookupByName('i-1')));

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'hypervisor-session-'));
    types.length = 0;
    session = new Session({
      uri: parseLibvirtUri(`qemu:///system?socket=${directory}/sock`), log, clock, connectTimeoutMs: 500,
      onEvent: () => undefined, onConnected: () => types.push('connected'), onDisconnected: () => types.push('disconnected'),
    });
  });
  afterEach(async () => {
    await session.close();
    await stop();
    rmSync(directory, { recursive: true });
  });

  it('holds calls back until the daemon is there', async () => {
    const waiting = lookUp(5_000);
    await clock.sleep(50);
    await start(answer);
    expect(await waiting).toEqual(domain);
    expect(types).toEqual(['connected']);
  });

  it('names the socket and the remedy when it never comes', async () => {
    await expect(lookUp(150)).rejects.toMatchObject({
      kind: 'timeout', message: expect.stringMatching(/^look up i-1: libvirtd is not reachable at .*sock \(.*ENOENT.*\); start it with/),
    });
  });

  it('repeats work that the daemon\'s end interrupted', async () => {
    let calls = 0;
    await start((call) => {
      calls += 1;
      if (calls === 1) call.socket.destroy();
      else answer(call);
    });
    expect(await lookUp(5_000)).toEqual(domain);
    expect(calls).toBe(2);
    expect(types).toEqual(['connected', 'disconnected', 'connected']);
  });

  it('asks again for what had no answer in the time that one call may take, and gives up at the deadline', async () => {
    let calls = 0;
    await start((call) => {
      calls += 1;
      if (calls === 2) answer(call);
    });
    const lookUpSoon = (timeoutMs: number) => session.run('look up i-1', timeoutMs, (its) => its.call(lookupByName('i-1')), { callMs: 50 });
    expect(await lookUpSoon(10_000)).toEqual(domain);
    expect(calls).toBe(2);
    await expect(lookUpSoon(120)).rejects.toMatchObject({ kind: 'timeout', message: expect.stringMatching(/^(look up i-1: )?libvirtd/) });
  });

  it('comes back after every end, and ends for good when it is closed', async () => {
    for (let round = 0; round < 3; round += 1) {
      await start(answer);
      expect(await lookUp(5_000)).toEqual(domain);
      await stop();
    }
    const waiting = lookUp(5_000);
    await session.close();
    await expect(waiting).rejects.toMatchObject({ kind: 'failed', message: expect.stringContaining('closed') });
  });
});
