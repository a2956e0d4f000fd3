// The volume drivers by name, each with its options. The only place that lists them.
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { SetupError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import type { Log } from '../../lib/log.ts';
import type { VolumeDriver } from './driver.ts';
import { createAoeExporter } from './aoe.ts';
import { openKeptVolumes } from './fake-kept-world.ts';
import { createFakeVolumes, type FakeVolumeWorld } from './fake.ts';
import { createFileStore } from './file-store.ts';
import { createIscsiExporter } from './iscsi.ts';
import { createLioExporter } from './lio.ts';
import { createLocalExporter } from './local.ts';
import { createLvmStore } from './lvm-store.ts';
import type { VolumeStore } from './store.ts';
import { createNbdExporter } from './nbd.ts';
import { createStoredVolumes } from './stored-volumes.ts';

/** What every driver is given, beside its own options. */
export interface VolumeContext {
  readonly run: Run;
  readonly log: Log;
  readonly clock: Clock;
  readonly stateDirectory: string;
  /** By which other hosts reach this one. Default: only this host does. */
  readonly address?: string | undefined;
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
  store: z.enum(['file', 'lvm']).default('file').describe('file: raw files of a folder; lvm: thick logical volumes of a volume group'),
  volumeGroup: z.string().default('novact').describe('for lvm: the volume group, which must exist'),
  folder: z.string().optional().describe('where the files of volumes and snapshots are; default: `volumes` in the state folder'),
  allocation: z.enum(['thick', 'thin']).default('thick').describe('thick takes the room of a volume when it is made; thin when a guest writes'),
};

type StoreOptions = z.output<z.ZodObject<typeof storeOptions>>;

const storeOf = ({ store, folder, allocation, volumeGroup }: StoreOptions, { run, stateDirectory }: VolumeContext): VolumeStore =>
  store === 'lvm' ? createLvmStore({ group: volumeGroup, run }) : createFileStore({ folder: folder ?? join(stateDirectory, 'volumes'), run, allocation });

const recordsFolder = ({ stateDirectory }: VolumeContext): string => join(stateDirectory, 'volume-exports');

const local = entry({
  doc: 'Volumes of this host, opened by the guests of this host only.',
  options: z.object(storeOptions),
  create: (options, context) =>
    createStoredVolumes({ store: storeOf(options, context), exporter: createLocalExporter(), recordsFolder: recordsFolder(context) }),
});

const targetOptions = {
  namePrefix: z.string().regex(/^iqn\.\d{4}-\d{2}\.[a-z0-9.-]+$/).default('iqn.2011-02.org.novact').describe('what the iSCSI names of volumes begin with'),
};

const iscsi = entry({
  doc: 'Volumes of this host, for guests of any host: a tgtd for each attached volume, with CHAP. QEMU connects itself.',
  options: z.object({
    ...storeOptions,
    firstPort: z.coerce.number().int().min(1).max(60_000).default(3_260).describe('ports from here on are taken, one for each attached volume'),
    ...targetOptions,
  }),
  create: (options, context) => {
    const { run, clock, address = '127.0.0.1', stateDirectory } = context;
    const { firstPort, namePrefix } = options;
    const exporter = createIscsiExporter({ folder: join(stateDirectory, 'iscsi'), address, firstPort, namePrefix, run, clock });
    return createStoredVolumes({ store: storeOf(options, context), exporter, recordsFolder: recordsFolder(context) });
  },
});

const lio = entry({
  doc: 'Volumes of this host, for guests of any host: its kernel serves them over iSCSI (LIO), with CHAP. QEMU connects itself.',
  options: z.object({
    ...storeOptions,
    port: z.coerce.number().int().min(1).max(65_535).default(3_260).describe('where the kernel listens, for all volumes'),
    ...targetOptions,
  }),
  create: (options, context) => {
    const { run, address = '127.0.0.1' } = context;
    const { port, namePrefix } = options;
    const exporter = createLioExporter({ address, port, namePrefix, run });
    return createStoredVolumes({ store: storeOf(options, context), exporter, recordsFolder: recordsFolder(context) });
  },
});

const nbd = entry({
  doc: 'Volumes of this host, for guests of any host: an nbdkit for each attached volume, open to the addresses of their hosts. QEMU connects itself.',
  options: z.object({
    ...storeOptions,
    firstPort: z.coerce.number().int().min(1).max(60_000).default(10_809).describe('ports from here on are taken, one for each attached volume'),
  }),
  create: (options, context) => {
    const { run, clock, address = '127.0.0.1', stateDirectory } = context;
    const exporter = createNbdExporter({ folder: join(stateDirectory, 'nbd'), address, firstPort: options.firstPort, run, clock });
    return createStoredVolumes({ store: storeOf(options, context), exporter, recordsFolder: recordsFolder(context) });
  },
});

const aoe = entry({
  doc: 'Volumes of this host, for guests of any host of one link: a vblade for each attached volume, open to the cards of their hosts. Kernels connect.',
  options: z.object({
    ...storeOptions,
    shelf: z.coerce.number().int().min(0).max(65_534).optional()
      .describe('its number on the link, which no other volume host there has; default: the last two numbers of the address'),
  }),
  create: (options, context) => {
    const { run, clock, address = '127.0.0.1', stateDirectory } = context;
    const exporter = createAoeExporter({ folder: join(stateDirectory, 'aoe'), address, shelf: options.shelf, run, clock });
    return createStoredVolumes({ store: storeOf(options, context), exporter, recordsFolder: recordsFolder(context) });
  },
});

const fake = entry({
  doc: 'Volumes in memory only: for trials and simulations.',
  options: z.object({}),
  create: (_options, { stateDirectory, fakeWorld }) => createFakeVolumes(fakeWorld ?? openKeptVolumes(stateDirectory)),
});

export const volumeDrivers = { local, iscsi, lio, nbd, aoe, fake } as const;

export type VolumeDriverName = keyof typeof volumeDrivers;

/** Makes the named driver; nothing is looked at before its `probe`. Throws SetupError for an unknown name or option. */
export function createVolumes(name: string, options: unknown, context: VolumeContext): VolumeDriver {
  if (name === 'local') return local.create(parse(name, local.options, options), context);
  if (name === 'iscsi') return iscsi.create(parse(name, iscsi.options, options), context);
  if (name === 'lio') return lio.create(parse(name, lio.options, options), context);
  if (name === 'nbd') return nbd.create(parse(name, nbd.options, options), context);
  if (name === 'aoe') return aoe.create(parse(name, aoe.options, options), context);
  if (name === 'fake') return fake.create(parse(name, fake.options, options), context);
  throw new SetupError(`no volume driver is called ${name}`, `Use one of: ${Object.keys(volumeDrivers).join(', ')}.`);
}

function parse<Options extends z.ZodType>(name: string, schema: Options, options: unknown): z.output<Options> {
  const result = schema.safeParse(options ?? {});
  if (result.success) return result.data;
  throw new SetupError(`the options of the volume driver ${name} are wrong: ${z.prettifyError(result.error)}`, 'See docs/reference/options.md.');
}
