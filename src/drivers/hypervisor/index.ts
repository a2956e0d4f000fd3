// The hypervisor drivers by name, each with its options. The only place that lists them.
import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { SetupError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { HypervisorDriver } from './driver.ts';
import { createLibvirtHypervisor } from './libvirt/libvirt.ts';
import { openKeptWorld } from './sim-kept-world.ts';
import { createSimHypervisor, type SimWorld } from './sim.ts';

export interface HypervisorContext {
  readonly log: Log;
  readonly clock: Clock;
  readonly stateDirectory: string;
  /** For the sim driver: the world to find again. Default: the one that is kept in the state folder. */
  readonly simWorld?: SimWorld;
}

interface HypervisorEntry<Options extends z.ZodType> {
  readonly doc: string;
  readonly options: Options;
  create(options: z.output<Options>, context: HypervisorContext): Promise<HypervisorDriver>;
}

const entry = <Options extends z.ZodType>(definition: HypervisorEntry<Options>): HypervisorEntry<Options> => definition;

const libvirt = entry({
  doc: 'Real guests through libvirt: QEMU with KVM or TCG, LXC, Xen.',
  options: z.object({
    uri: z.string().default('qemu:///system').describe('qemu:///system, lxc:///system, xen:///system or qemu:///session; ?socket=PATH for another socket'),
    accelerator: z.enum(['auto', 'kvm', 'tcg']).default('auto').describe('auto takes KVM when a probe guest really boots under it'),
    probeTimeoutMs: z.coerce.number().int().min(100).default(10_000).describe('how long the probe guest may need, in milliseconds'),
    probeKernelPath: z.string().optional().describe('the kernel that the probe guest boots; the default is the host\'s own'),
  }),
  create: (options, { log, clock, stateDirectory }) => createLibvirtHypervisor({ ...options, log, clock, stateDirectory }),
});

const sim = entry({
  doc: 'Guests in memory only: for trials and simulations. Nothing boots.',
  options: z.object({
    bootDelayMs: z.coerce.number().int().min(0).default(200).describe('from the start of a guest to the last line of its boot, in milliseconds'),
    cores: z.coerce.number().int().min(1).default(16).describe('processor cores that the simulated host has'),
    memoryMiB: z.coerce.number().int().min(64).default(65_536).describe('memory that the simulated host has'),
  }),
  create: async ({ bootDelayMs, cores, memoryMiB }, { clock, stateDirectory, simWorld }) =>
    createSimHypervisor({ clock, bootDelayMs, capacity: { cores, memoryMiB }, world: simWorld ?? openKeptWorld(stateDirectory) }),
});

export const hypervisorDrivers = { libvirt, sim } as const;

export type HypervisorDriverName = keyof typeof hypervisorDrivers;

/** Opens the named driver. Throws SetupError for an unknown name or option, DriverError when the hypervisor cannot be reached. */
export async function createHypervisor(name: string, options: unknown, context: HypervisorContext): Promise<HypervisorDriver> {
  if (name === 'libvirt') return libvirt.create(parse(name, libvirt.options, options), context);
  if (name === 'sim') return sim.create(parse(name, sim.options, options), context);
  throw new SetupError(`no hypervisor driver is called ${name}`, `Use one of: ${Object.keys(hypervisorDrivers).join(', ')}.`);
}

function parse<Options extends z.ZodType>(name: string, schema: Options, options: unknown): z.output<Options> {
  const result = schema.safeParse(options ?? {});
  if (result.success) return result.data;
  throw new SetupError(`the options of the hypervisor driver ${name} are wrong: ${z.prettifyError(result.error)}`, 'See docs/reference/options.md.');
}
