// The messages that the transport suite sends: a tell with an order, one without, an ask, and shared work.
import { z } from 'zod';
import { protocol, type Handlers } from '../../src/messages/protocol.ts';
import type { Delivery } from '../../src/transport/transport.ts';

const computeTable = {
  note: { doc: 'Notes a number. Harmless to repeat.', body: z.object({ instanceId: z.string(), n: z.number() }) },
  mark: { doc: 'Without an order of its own.', body: z.object({ n: z.number() }) },
  double: { doc: 'Twice the number.', body: z.object({ n: z.number() }), reply: z.object({ n: z.number() }) },
};
export const compute = protocol('compute', computeTable);
export const scheduler = protocol('scheduler', { place: { doc: 'Shared work.', body: z.object({ n: z.number() }) } });
export const host1 = { role: 'compute', host: 'host1' } as const;
export const host2 = { role: 'compute', host: 'host2' } as const;

type ComputeHandlers = Handlers<typeof computeTable, Delivery>;

/** Handlers for all of them, some replaced. */
export const handlers = (more: Partial<ComputeHandlers> = {}): ComputeHandlers => ({
  note: () => undefined,
  mark: () => undefined,
  double: ({ n }) => ({ n: 2 * n }),
  ...more,
});
