// The management protocol of tgtd, over its unix socket. Its own tool would do, but it takes secrets on the command line, where every user of
// the host can read them. A request is a fixed record and a text `name=value,name=value`; the answer is an error number and a text.
import { createConnection } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';

export const tgtModes = { target: 1, device: 2, portal: 3, connection: 6, account: 7 } as const;
export const tgtOperations = { create: 0, delete: 1, show: 2, bind: 3, unbind: 4, update: 5 } as const;

export interface TgtRequest {
  readonly mode: keyof typeof tgtModes;
  readonly operation: keyof typeof tgtOperations;
  readonly target?: number;
  readonly session?: bigint;
  readonly connection?: number;
  readonly device?: bigint;
  readonly values?: Readonly<Record<string, string>>;
}

const requestBytes = 120;
const answerBytes = 8;
const answerBytesMax = 4 * 1024 * 1024;
const none = 0xffff_ffff_ffff_ffffn;

/** Fails with DriverError `failed` for what tgtd refuses and `notFound` when nobody answers at the socket. No error names a value: it may be a secret. */
export function tellTgt(socketPath: string, request: TgtRequest, options: { clock: Clock; timeoutMs: number }): Promise<string> {
  const attempted = `tgtd: ${request.operation} ${request.mode}`;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = createConnection(socketPath);
    const settle = (work: () => void) => {
      timer.cancel();
      socket.destroy();
      work();
    };
    const fail = (kind: 'timeout' | 'failed' | 'notFound', why: string) => settle(() => reject(new DriverError(kind, `${attempted}: ${why}`)));
    const timer = options.clock.after(options.timeoutMs, () => fail('timeout', `no answer after ${options.timeoutMs} ms`));
    socket.on('error', (error) => fail('notFound', error.message));
    socket.on('connect', () => socket.write(encodeTgtRequest(request)));
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      const all = Buffer.concat(chunks);
      if (all.length < answerBytes) return;
      const [code, length] = [all.readUInt32LE(0), all.readUInt32LE(4)];
      if (code !== 0) return fail('failed', `refused with its error ${code}`);
      if (length > answerBytesMax) return fail('failed', `an answer of ${length} bytes`);
      if (all.length >= length) settle(() => resolve(all.toString('utf8', answerBytes, length)));
    });
    socket.on('close', () => fail('failed', 'it closed the connection'));
  });
}

export function encodeTgtRequest({ mode, operation, target, session = 0n, connection = 0, device = none, values }: TgtRequest): Buffer {
  const pairs = Object.entries(values ?? {}).map(([name, value]) => `${name}=${checked(value)}`);
  const text = Buffer.from(pairs.length === 0 ? '' : `${pairs.join(',')}\0`);
  const head = Buffer.alloc(requestBytes);
  head.writeUInt32LE(tgtModes[mode], 0);
  head.writeUInt32LE(tgtOperations[operation], 4);
  head.write('iscsi', 8);
  head.writeUInt32LE(requestBytes + text.length, 72);
  head.writeInt32LE(target ?? -1, 76);
  head.writeBigUInt64LE(session, 80);
  head.writeBigUInt64LE(device, 88);
  head.writeUInt32LE(connection, 96);
  return Buffer.concat([head, text]);
}

/** There is no way to write a comma. */
function checked(value: string): string {
  if (!/^[\x21-\x2b\x2d-\x7e]+$/.test(value)) throw new DriverError('failed', 'tgtd takes no spaces, commas or control characters');
  return value;
}

export interface TgtTarget {
  readonly name: string;
  readonly devices: readonly { readonly lun: number; readonly path: string }[];
  readonly accounts: readonly string[];
  /** Addresses and iSCSI names. */
  readonly allowed: readonly string[];
  readonly sessions: readonly TgtSession[];
}

export interface TgtSession {
  readonly id: bigint;
  readonly initiator: string;
  readonly connections: readonly { readonly id: number; readonly address: string }[];
}

/** What tgtd says of its only target; undefined when there is none. */
export function parseTgtTarget(text: string): TgtTarget | undefined {
  const name = /^Target \d+: (\S+)$/m.exec(text)?.[1];
  if (name === undefined) return undefined;
  const section = (title: string) => new RegExp(`^    ${title} information:\\n((?: {8}.*\\n?)*)`, 'm').exec(text)?.[1] ?? '';
  const lines = (title: string) => section(title).split('\n').map((line) => line.trim()).filter((line) => line !== '');
  const devices = section('LUN').split(/^ {8}LUN: /m).flatMap((part) => {
    const path = /Backing store path: (.+)/.exec(part)?.[1] ?? 'None';
    return path === 'None' ? [] : [{ lun: Number.parseInt(part, 10), path }];
  });
  const sessions = section('I_T nexus').split(/^ {8}I_T nexus: /m).slice(1).map((part) => ({
    id: BigInt(Number.parseInt(part, 10)),
    initiator: /Initiator: (\S+)/.exec(part)?.[1] ?? '',
    connections: [...part.matchAll(/Connection: (\d+)\n\s*IP Address: (\S+)/g)].map(([, id, address]) => ({ id: Number(id), address: address ?? '' })),
  }));
  return { name, devices, accounts: lines('Account'), allowed: lines('ACL'), sessions };
}
