// Consoles beside the driver's own calls, with a daemon that treats a connection which has a console as libvirtd 9.0 sometimes does.
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { HypervisorDriver } from '../../../../src/drivers/hypervisor/driver.ts';
import { createLibvirtHypervisor } from '../../../../src/drivers/hypervisor/libvirt/libvirt.ts';
import {
  create, destroy, domainStates, getMetadata, getState, libvirtCodes, listAll, lookupByName, nodeInfo, openConsole, registerEvent, undefine,
} from '../../../../src/drivers/hypervisor/libvirt/procedures.ts';
import { XdrWriter } from '../../../../src/drivers/hypervisor/libvirt/xdr.ts';
import { systemClock as clock } from '../../../../src/lib/clock.ts';
import { silentLog as log } from '../../../../src/lib/log.ts';
import { listen, packet, reply, type PeerCall } from '../../../support/libvirt-peer.ts';
import { waitFor } from '../../../support/patience.ts';

const domain = { name: 'i-1', uuid: Buffer.alloc(16, 7), id: 3 };
const numberOf = (procedure: { number: number }): number => procedure.number;
const numbers = {
  nodeInfo: numberOf(nodeInfo()), registerEvent: numberOf(registerEvent(0)), listAll: numberOf(listAll()), lookUp: numberOf(lookupByName('')),
  getState: numberOf(getState(domain)), create: numberOf(create(domain)), destroy: numberOf(destroy(domain)), undefine: numberOf(undefine(domain, 0)),
  getMetadata: numberOf(getMetadata(domain, '')), openConsole: numberOf(openConsole(domain)),
};

let directory: string;
let server: Server;
let driver: HypervisorDriver | undefined;
/** Whether the guest runs, and is defined. */
let guest: { runs: boolean; exists: boolean };
/** Connections that have, or had, a console. */
let streaming: Map<Socket, PeerCall>;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'hypervisor-consoles-'));
  guest = { runs: false, exists: true };
  streaming = new Map();
  server = await listen(join(directory, 'sock'), answer);
  driver = await createLibvirtHypervisor({ uri: `lxc:///system?socket=${directory}/sock`, log, clock, stateDirectory: directory });
});
afterEach(async () => {
  await driver?.close();
  for (const socket of streaming.keys()) socket.destroy();
  server.close();
  rmSync(directory, { recursive: true });
});

/** A container's libvirtd, but for this: what is asked on a connection that has had a console is never answered. */
function answer(call: PeerCall): void {
  if (streaming.has(call.socket)) return;
  const handle = { ...domain, id: guest.runs ? domain.id : -1 };
  switch (call.procedure) {
    case numbers.nodeInfo:
      return reply(call, Buffer.alloc(32 * 4 + 8 + 4 * 7));
    case numbers.lookUp:
      return guest.exists ? reply(call, new XdrWriter().domain(handle).bytes()) : refuse(call, libvirtCodes.noDomain);
    case numbers.listAll:
      return reply(call, new XdrWriter().uint(1).domain(handle).bytes());
    case numbers.getState:
      return reply(call, new XdrWriter().uint(guest.runs ? domainStates.running : domainStates.shutoff).uint(0).bytes());
    case numbers.getMetadata:
      return reply(call, new XdrWriter().text(`<n:instance xmlns:n='x' cloud='c' directory='${directory}'/>`).bytes());
    case numbers.create:
      guest.runs = true;
      return reply(call);
    case numbers.destroy:
      if (!guest.runs) return refuse(call, libvirtCodes.operationInvalid);
      guest.runs = false;
      return reply(call);
    case numbers.undefine:
      guest.exists = false;
      return reply(call);
    case numbers.openConsole:
      reply(call);
      streaming.set(call.socket, call);
      return void call.socket.write(packet(numbers.openConsole, 3, call.serial, 2, Buffer.from('hello\n')));
    case numbers.registerEvent:
      return reply(call, Buffer.alloc(4));
  }
}

const refuse = (call: PeerCall, code: number): void => reply(call, new XdrWriter().uint(code).uint(0).optionalText('refused').bytes(), 1);

it('a guest whose console is read is stopped and removed although libvirtd answers nothing more where the console is', async () => {
  await driver?.ensureRunning('i-1');
  await waitFor('what the guest says is written', { timeoutMs: 40_000, pollMs: 20 }, async () =>
    ((await readFile(join(directory, 'console.log'), 'utf8')) === 'hello\n' ? true : undefined));
  await driver?.ensureStopped('i-1');
  await driver?.ensureAbsent('i-1');
  expect(guest).toEqual({ runs: false, exists: false });
}, 90_000);
