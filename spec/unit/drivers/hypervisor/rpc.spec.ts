// The libvirt client against a peer that misbehaves on purpose.
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lookupByName } from '../../../../src/drivers/hypervisor/libvirt/procedures.ts';
import { connect, ConnectionLost, LibvirtError, packetBytesMax, toDriverError, type Connection, type RpcEvent } from '../../../../src/drivers/hypervisor/libvirt/rpc.ts';
import { XdrWriter } from '../../../../src/drivers/hypervisor/libvirt/xdr.ts';
import { systemClock as clock } from '../../../../src/lib/clock.ts';
import { keepAliveProgram, listen, packet, reply, type PeerCall } from '../../../support/libvirt-peer.ts';

const domain = { name: 'i-1', uuid: Buffer.alloc(16, 7), id: 3 };
const domainBytes = new XdrWriter().domain(domain).bytes();

describe('the libvirt connection', () => {
  let directory: string;
  let server: Server | undefined;
  let connection: Connection | undefined;
  let sockets: Set<Socket>;
  let events: RpcEvent[];
  let closed: Promise<Error>;

  const open = async (onCall: (call: PeerCall) => void, keepAlive = { intervalMs: 60_000, pingsMax: 1 }): Promise<Connection> => {
    server = await listen(join(directory, 'sock'), onCall);
    server.on('connection', (socket) => sockets.add(socket));
    let onClose: (error: Error) => void = () => undefined;
    closed = new Promise((resolve) => (onClose = resolve));
    connection = await connect({
      socket: join(directory, 'sock'), uri: 'qemu:///system', clock, timeoutMs: 2_000, keepAlive,
      onEvent: (event) => events.push(event), onClose: (error) => onClose(error),
    });
    return connection;
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'hypervisor-rpc-'));
    [sockets, events, connection] = [new Set(), [], undefined];
  });
  afterEach(() => {
    connection?.end('over');
    for (const socket of sockets) socket.destroy();
    server?.close();
    rmSync(directory, { recursive: true });
  });

  it('reads an answer that comes byte by byte, together with an event', async () => {
    const opened = await open((call) => {
      const event = packet(318, 2, 0, 0, Buffer.concat([Buffer.alloc(4), domainBytes, Buffer.alloc(8)]));
      const bytes = Buffer.concat([event, packet(call.procedure, 1, call.serial, 0, domainBytes)]);
      for (const byte of bytes) call.socket.write(Buffer.from([byte]));
    });
    expect(await opened.call(lookupByName('i-1'), 1_000)).toEqual(domain);
    expect(events).toEqual([{ kind: 'lifecycle', domain, change: 0 }]);
  });

  it('gives each call its own answer, whatever their order', async () => {
    const calls: PeerCall[] = [];
    const opened = await open((call) => {
      calls.push(call);
      if (calls.length === 3) for (const each of calls.toReversed()) reply(each, new XdrWriter().domain({ ...domain, id: each.serial }).bytes());
    });
    const ids = (await Promise.all(['a', 'b', 'c'].map((name) => opened.call(lookupByName(name), 1_000)))).map(({ id }) => id);
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    expect(new Set(ids).size).toBe(3);
  });

  it('turns libvirt\'s refusals into kinds', async () => {
    const opened = await open((call) => reply(call, new XdrWriter().uint(42).uint(10).optionalText('Domain not found').uint(2).bytes(), 1));
    const error = await opened.call(lookupByName('i-1'), 1_000).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(LibvirtError);
    expect(toDriverError('look up i-1', error)).toMatchObject({ name: 'DriverError', kind: 'notFound', message: 'look up i-1: libvirt: Domain not found' });
    for (const [code, kind] of [[3, 'unsupported'], [55, 'busy'], [68, 'timeout'], [1, 'failed']] as const) {
      expect(toDriverError('x', new LibvirtError(code, 'y'))).toMatchObject({ kind });
    }
  });

  it('ends a call at its deadline, and drops the late answer', async () => {
    let late: PeerCall | undefined;
    const opened = await open((call) => (late === undefined ? (late = call) : reply(call, domainBytes)));
    await expect(opened.call(lookupByName('slow'), 30)).rejects.toMatchObject({ kind: 'timeout' });
    if (late !== undefined) reply(late, domainBytes);
    expect(await opened.call(lookupByName('i-1'), 1_000)).toEqual(domain);
  });

  it('never has more calls under way than libvirtd takes while it still reads pings', async () => {
    const underWay: PeerCall[] = [];
    const opened = await open((call) => underWay.push(call));
    const answers = Array.from({ length: 12 }, () => opened.call(lookupByName('i-1'), 2_000));
    for (let done = 0; done < 12; done += 1) {
      while (underWay.length === 0) await clock.sleep(1);
      await clock.sleep(2);
      expect(underWay.length).toBeLessThanOrEqual(4);
      const call = underWay.shift();
      if (call !== undefined) reply(call, domainBytes);
    }
    await expect(Promise.all(answers)).resolves.toHaveLength(12);
  });

  it('gives up a connection on which every place hangs', async () => {
    const opened = await open(() => undefined);
    const hanging = await Promise.allSettled(Array.from({ length: 4 }, () => opened.call(lookupByName('i-1'), 20)));
    expect(hanging.every((result) => result.status === 'rejected')).toBe(true);
    expect((await closed).message).toContain('no answer in time');
  });

  it('fails what is under way and what waits when the daemon goes', async () => {
    const opened = await open((call) => call.socket.destroy());
    const results = await Promise.allSettled(Array.from({ length: 9 }, () => opened.call(lookupByName('i-1'), 5_000)));
    expect(results.map((result) => (result.status === 'rejected' ? result.reason : undefined))).toEqual(Array.from({ length: 9 }, () => expect.any(ConnectionLost)));
    await expect(opened.call(lookupByName('i-1'), 5_000)).rejects.toBeInstanceOf(ConnectionLost);
  });

  it('notices a daemon that is silent, and answers its pings', async () => {
    const pings: number[] = [];
    await open((call) => pings.push(call.program), { intervalMs: 20, pingsMax: 2 });
    for (const socket of sockets) socket.write(packet(1, 2, 0, 0, Buffer.alloc(0), keepAliveProgram));
    expect((await closed).message).toContain('silent');
    expect(pings.filter((program) => program === keepAliveProgram).length).toBeGreaterThanOrEqual(3);
  });

  it.each([
    ['a packet larger than any', (call: PeerCall) => call.socket.write(Buffer.from((packetBytesMax + 1).toString(16).padStart(8, '0') + '00', 'hex'))],
    ['a packet shorter than its header', (call: PeerCall) => call.socket.write(Buffer.from('0000000800000000', 'hex'))],
    ['a text longer than its packet', (call: PeerCall) => reply(call, Buffer.from('7fffffff', 'hex'))],
  ])('survives %s', async (_, misbehave) => {
    const opened = await open(misbehave);
    await expect(opened.call(lookupByName('i-1'), 1_000)).rejects.toThrow();
  });

  it('refuses a daemon that wants a password', async () => {
    server = await listen(join(directory, 'sock'), () => undefined);
    server.removeAllListeners('connection');
    server.on('connection', (socket) => socket.on('data', (bytes) => socket.write(packet(66, 1, bytes.readUInt32BE(20), 0, Buffer.from('0000000100000001', 'hex')))));
    const opening = connect({ socket: join(directory, 'sock'), uri: 'qemu:///system', clock, timeoutMs: 1_000, onEvent: () => undefined, onClose: () => undefined });
    await expect(opening).rejects.toMatchObject({ kind: 'unsupported', message: expect.stringContaining('password') });
  });
});
