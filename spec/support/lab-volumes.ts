// Volume drivers in the nested guest, where the parts of the kernel are that they need, as if they were in this process: volumes-in-lab.mts has them.
import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';
import type { ExportSpec, VolumeDriver, VolumeEvent, VolumeInfo } from '../../src/drivers/volume/driver.ts';
import { DriverError } from '../../src/lib/errors.ts';
import { labProgram } from './lab-program.ts';
import type { Lab } from './lab.ts';
import type { AskedMethod, LabDriverSettings, LabSaying, LabWish } from './volumes-in-lab.mts';

export interface LabVolumes {
  /** Probed. Its host is the guest, by its address; two with the same state folder are as one after a restart of novact. */
  driver(settings: Omit<LabDriverSettings, 'address'> & { readonly address?: string }): Promise<VolumeDriver>;
  /** Of a device or file of the guest. */
  read(path: string, offset: number, length: number): Promise<string>;
  write(path: string, offset: number, text: string): Promise<void>;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

const socketPath = '/run/volumes-in-lab';
const startMs = 120_000;

/** Until the lab is down. */
export async function startLabVolumes(lab: Lab): Promise<LabVolumes> {
  const program = await labProgram(lab, 'spec/support/volumes-in-lab.mts');
  const start = 'setsid node "$0" "$1" > /run/volumes-in-lab.log 2>&1 < /dev/null & until [ -S "$1" ]; do kill -0 $! && sleep 0.2 || exit 1; done';
  await lab.run('sh', ['-c', start, program, socketPath], { timeoutMs: startMs });
  return connect(await lab.forward(socketPath), lab.address);
}

function connect(path: string, ownAddress: string): LabVolumes {
  const waiting = new Map<number, Waiting>();
  const listeners = new Map<number, Set<(event: VolumeEvent) => void>>();
  let wishes = 0;
  const socket = createConnection(path);
  createInterface({ input: socket }).on('line', (line) => {
    const saying = JSON.parse(line) as LabSaying;
    if ('event' in saying) return listeners.get(saying.driver)?.forEach((listener) => listener(saying.event));
    const one = waiting.get(saying.wish);
    waiting.delete(saying.wish);
    if (!('error' in saying)) return one?.resolve(saying.value);
    const { kind, message } = saying.error;
    one?.reject(kind === undefined ? new Error(message) : new DriverError(kind, message));
  });
  socket.on('error', () => undefined); // `close` follows
  const gone = () => new Error('the drivers in the lab are gone');
  socket.on('close', () => waiting.forEach(({ reject }) => reject(gone())));
  const wish = (what: LabWish) => new Promise<unknown>((resolve, reject) => {
    if (socket.destroyed) return reject(gone());
    wishes += 1;
    waiting.set(wishes, { resolve, reject });
    socket.write(`${JSON.stringify({ wish: wishes, ...what })}\n`);
  });
  return {
    async driver({ address = ownAddress, ...settings }) {
      const driver = listeners.size;
      const heard = new Set<(event: VolumeEvent) => void>();
      listeners.set(driver, heard);
      const info = await wish({ verb: 'make', driver, settings: { address, ...settings } }) as VolumeInfo;
      return labDriver(info, heard, (method, args, secret) => wish({ verb: 'ask', driver, method, args, ...(secret === undefined ? {} : { secret }) }));
    },
    read: async (file, offset, length) => await wish({ verb: 'read', path: file, offset, length }) as string,
    write: async (file, offset, text) => void (await wish({ verb: 'write', path: file, offset, text })),
  };
}

function labDriver(
  info: VolumeInfo, listeners: Set<(event: VolumeEvent) => void>, ask: (method: AskedMethod, args: readonly unknown[], secret?: string) => Promise<unknown>,
): VolumeDriver {
  const asked = <Method extends AskedMethod>(method: Method): VolumeDriver[Method] => ((...args: unknown[]) => ask(method, args)) as VolumeDriver[Method];
  return {
    info,
    probe: asked('probe'),
    capacity: asked('capacity'),
    listVolumes: asked('listVolumes'),
    listSnapshots: asked('listSnapshots'),
    ensureVolume: asked('ensureVolume'),
    ensureVolumeAbsent: asked('ensureVolumeAbsent'),
    resize: asked('resize'),
    ensureSnapshot: asked('ensureSnapshot'),
    ensureSnapshotAbsent: asked('ensureSnapshotAbsent'),
    snapshotPath: asked('snapshotPath'),
    ensureExport: async (spec: ExportSpec) => await ask('ensureExport', [spec], spec.secret.reveal()) as Awaited<ReturnType<VolumeDriver['ensureExport']>>,
    ensureUnexported: asked('ensureUnexported'),
    listExports: asked('listExports'),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    removeAll: asked('removeAll'),
    close: asked('close'),
  };
}
