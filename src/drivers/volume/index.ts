// The volume drivers by name, each with its options. The only place that lists them.
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { SetupError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import type { Log } from '../../lib/log.ts';
import type { VolumeDriver } from './driver.ts';
import { openKeptVolumes } from './fake-kept-world.ts';
import { createFakeVolumes, type FakeVolumeWorld } from './fake.ts';
import { createFileStore } from './file-store.ts';
import { createLocalExporter } from './local.ts';
import { createStoredVolumes } from './stored-volumes.ts';

/** What every driver is given, beside its own options. */
export interface VolumeContext {
  readonly run: Run;
  readonly log: Log;
  readonly clock: Clock;
  readonly stateDirectory: string;
  /** For the fake driver: the world to find again. Default: the one that is kept in the state folder. */
  readonly fakeWorld?: FakeVolumeWorld;
}

interface VolumeDriverEntry<Options extends z.ZodType> {
  readonly doc: string;
  readonly options: Options;
  create(options: z.output<Options>, context: VolumeContext): VolumeDriver;
}

const entry = <Options extends z.ZodType>(definition: VolumeDriverEntry<Options>): VolumeDriverEntry<Options> => definition;

const storeOptions = {
  folder: z.string().optional().describe('where the files of volumes and snapshots are; default: `volumes` in the state folder'),
  allocation: z.enum(['thick', 'thin']).default('thick').describe('thick takes the room of a volume when it is made; thin when a guest writes'),
};

const fileStore = (options: { folder?: string | undefined; allocation: 'thick' | 'thin' }, { run, stateDirectory }: VolumeContext) =>
  createFileStore({ folder: options.folder ?? join(stateDirectory, 'volumes'), run, allocation: options.allocation });

const recordsFolder = ({ stateDirectory }: VolumeContext): string => join(stateDirectory, 'volume-exports');

const local = entry({
  doc: 'Raw files of this host, opened by the guests of this host only.',
  options: z.object(storeOptions),
  create: (options, context) =>
    createStoredVolumes({ store: fileStore(options, context), exporter: createLocalExporter(), recordsFolder: recordsFolder(context) }),
});

const fake = entry({
  doc: 'Volumes in memory only: for trials and simulations.',
  options: z.object({}),
  create: (_options, { stateDirectory, fakeWorld }) => createFakeVolumes(fakeWorld ?? openKeptVolumes(stateDirectory)),
});

export const volumeDrivers = { local, fake } as const;

export type VolumeDriverName = keyof typeof volumeDrivers;

/** Makes the named driver; nothing is looked at before its `probe`. Throws SetupError for an unknown name or option. */
export function createVolumes(name: string, options: unknown, context: VolumeContext): VolumeDriver {
  if (name === 'local') return local.create(parse(name, local.options, options), context);
  if (name === 'fake') return fake.create(parse(name, fake.options, options), context);
  throw new SetupError(`no volume driver is called ${name}`, `Use one of: ${Object.keys(volumeDrivers).join(', ')}.`);
}

function parse<Options extends z.ZodType>(name: string, schema: Options, options: unknown): z.output<Options> {
  const result = schema.safeParse(options ?? {});
  if (result.success) return result.data;
  throw new SetupError(`the options of the volume driver ${name} are wrong: ${z.prettifyError(result.error)}`, 'See docs/reference/options.md.');
}
