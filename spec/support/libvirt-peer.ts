// A peer that speaks libvirt's protocol from the daemon's side, so that specs can make it slow, wrong, silent or gone.
import { createServer, type Server, type Socket } from 'node:net';

export interface PeerCall {
  readonly program: number;
  readonly procedure: number;
  readonly serial: number;
  readonly body: Buffer;
  readonly socket: Socket;
}

export const keepAliveProgram = 0x6b65_6570;
export const remoteProgram = 0x2000_8086;

export function packet(procedure: number, type: number, serial: number, status: number, body: Buffer, program = remoteProgram): Buffer {
  const header = Buffer.alloc(28);
  [28 + body.length, program, 1, procedure, type, serial, status].forEach((word, index) => header.writeUInt32BE(word, index * 4));
  return Buffer.concat([header, body]);
}

export const reply = (call: PeerCall, body: Buffer = Buffer.alloc(0), status = 0): void =>
  void call.socket.write(packet(call.procedure, 1, call.serial, status, body));

/** Answers what opening a connection takes; everything else goes to `onCall`. */
export async function listen(path: string, onCall: (call: PeerCall) => void): Promise<Server> {
  const server = createServer((socket) => {
    let buffered = Buffer.alloc(0);
    socket.on('error', () => undefined); // the client may be gone first
    socket.on('data', (chunk) => {
      buffered = Buffer.concat([buffered, chunk]);
      while (buffered.length >= 4 && buffered.length >= buffered.readUInt32BE(0)) {
        const length = buffered.readUInt32BE(0);
        const bytes = buffered.subarray(0, length);
        buffered = buffered.subarray(length);
        const call = { program: bytes.readUInt32BE(4), procedure: bytes.readUInt32BE(12), serial: bytes.readUInt32BE(20), body: bytes.subarray(28), socket };
        if (call.program === remoteProgram && call.procedure === 66) reply(call, Buffer.from('0000000100000000', 'hex'));
        else if (call.program === remoteProgram && [1, 2].includes(call.procedure)) reply(call);
        else onCall(call);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return server;
}
