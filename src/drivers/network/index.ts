// The registry of network drivers: the one place that lists them, with the options of each.
import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import type { Run } from '../../lib/exec.ts';
import type { Log } from '../../lib/log.ts';
import type { NetworkDriver } from './driver.ts';
import { createFakeNetwork } from './fake.ts';
import { createLinuxNetwork } from './linux/linux.ts';

/** What every driver is given, beside its own options. */
export interface NetworkTools {
  readonly run: Run;
  /** Commands of the machine, where the host lives in a network namespace of it. */
  readonly machine: Run;
  readonly log: Log;
  readonly clock: Clock;
  readonly stateDirectory: string;
}

interface NetworkDriverEntry<O extends z.ZodType> {
  readonly doc: string;
  readonly options: O;
  create(tools: NetworkTools, options: z.output<O>): NetworkDriver;
}

const entry = <O extends z.ZodType>(made: NetworkDriverEntry<O>): NetworkDriverEntry<O> => made;

export const networkDrivers = {
  linux: entry({
    doc: 'Linux bridges, dnsmasq and nftables of this host. Needs root.',
    options: z.object({
      uplink: z.string().regex(/^[A-Za-z0-9_.-]{1,15}$/).optional()
        .describe('The interface by which guests reach the outside (masqueraded). Default: whichever the routing table says.'),
    }),
    create: (tools, options) => createLinuxNetwork({ ...tools, uplink: options.uplink }),
  }),
  fake: entry({
    doc: 'Nothing is plumbed: for simulated guests.',
    options: z.object({}),
    create: () => createFakeNetwork(),
  }),
} as const;

export type NetworkDriverName = keyof typeof networkDrivers;
