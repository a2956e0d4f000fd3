// Run in the nested guest, as the volume drivers of a host work on the machine that Node runs on. Whoever connects to its socket has them made and told
// what to do: a line of JSON for each wish, one for each answer, one for each event. What they serve goes on when this has ended.
import { open } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { ExportSpec, VolumeDriver, VolumeEvent, VolumeInfo } from '../../src/drivers/volume/driver.ts';
import { createVolumes, type VolumeDriverName } from '../../src/drivers/volume/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { DriverError, messageOf, type DriverErrorKind } from '../../src/lib/errors.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { Secret } from '../../src/lib/secret.ts';

export interface LabDriverSettings {
  readonly name: VolumeDriverName;
  readonly options: Readonly<Record<string, unknown>>;
  readonly address: string;
  readonly stateDirectory: string;
  /** Of its commands: a host of its own in the guest. Default: that of the guest. */
  readonly networkNamespace?: string;
}

export type AskedMethod = Exclude<keyof VolumeDriver, 'info' | 'subscribe'>;

/** `driver`: a number that whoever has one made chooses for it. */
export type LabWish =
  /** The answer: its VolumeInfo, once it is probed. */
  | { readonly verb: 'make'; readonly driver: number; readonly settings: LabDriverSettings }
  /** `secret`: of an ExportSpec, which does not tell its own. */
  | { readonly verb: 'ask'; readonly driver: number; readonly method: AskedMethod; readonly args: readonly unknown[]; readonly secret?: string }
  | { readonly verb: 'read'; readonly path: string; readonly offset: number; readonly length: number }
  | { readonly verb: 'write'; readonly path: string; readonly offset: number; readonly text: string };

export type LabSaying =
  | { readonly wish: number; readonly value?: unknown }
  | { readonly wish: number; readonly error: { readonly kind?: DriverErrorKind; readonly message: string } }
  | { readonly driver: number; readonly event: VolumeEvent };

const drivers = new Map<number, VolumeDriver>();

async function make(number: number, settings: LabDriverSettings, say: (saying: LabSaying) => void): Promise<VolumeInfo> {
  const { name, options, address, stateDirectory, networkNamespace } = settings;
  const driver = createVolumes(name, options, { run: createRun({ log, networkNamespace }), log, clock, stateDirectory, address });
  await driver.probe();
  driver.subscribe((event) => say({ driver: number, event }));
  drivers.set(number, driver);
  return driver.info;
}

async function fulfil(wish: LabWish, say: (saying: LabSaying) => void): Promise<unknown> {
  if (wish.verb === 'make') return make(wish.driver, wish.settings, say);
  if (wish.verb === 'ask') {
    const driver = drivers.get(wish.driver);
    const [first, ...others] = wish.args;
    const args = wish.secret === undefined ? wish.args : [{ ...(first as ExportSpec), secret: new Secret(wish.secret) }, ...others];
    if (driver === undefined) throw new Error(`there is no driver ${wish.driver}`);
    return Reflect.apply(driver[wish.method], driver, args);
  }
  const file = await open(wish.path, 'r+');
  try {
    if (wish.verb === 'read') return (await file.read(Buffer.alloc(wish.length), 0, wish.length, wish.offset)).buffer.toString();
    await file.write(wish.text, wish.offset);
    await file.sync();
  } finally {
    await file.close();
  }
}

function serve(socket: Socket): void {
  const say = (saying: LabSaying): void => void socket.write(`${JSON.stringify(saying)}\n`);
  createInterface({ input: socket }).on('line', (line) => {
    const { wish, ...what } = JSON.parse(line) as LabWish & { readonly wish: number };
    void fulfil(what, say).then(
      (value) => say({ wish, value }),
      (error: unknown) => say({ wish, error: { ...(error instanceof DriverError ? { kind: error.kind } : {}), message: messageOf(error) } }),
    );
  });
}

createServer(serve).listen(process.argv[2]);
