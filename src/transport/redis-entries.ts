// The shapes of Redis's answers about streams, read without trust in what others may have written there.
import { z } from 'zod';

/** One message in a stream. */
export interface Entry {
  readonly id: string;
  readonly text: string;
  readonly key: string | undefined;
}

export interface PendingEntry {
  readonly id: string;
  readonly consumer: string;
  readonly deliveries: number;
}

const pairs = z.array(z.string());
const entrySchema = z.tuple([z.string(), pairs.nullable()]).transform(([id, fields]): Entry => {
  const about: Record<string, string | undefined> = {};
  for (let index = 0; index + 1 < (fields?.length ?? 0); index += 2) about[fields?.[index] ?? ''] = fields?.[index + 1];
  const { m = '', k = '' } = about;
  return { id, text: m, key: k === '' ? undefined : k };
});
const entriesSchema = z.array(entrySchema.nullable()).transform((entries) => entries.filter((entry) => entry !== null));
const readSchema = z.array(z.tuple([z.string(), entriesSchema])).nullable();
const pendingSchema = z.array(z.tuple([z.string(), z.string(), z.number(), z.number()]).transform(
  ([id, consumer, , deliveries]): PendingEntry => ({ id, consumer, deliveries }),
));

/** Of XRANGE and XCLAIM. */
export const entriesOf = (reply: unknown): readonly Entry[] => entriesSchema.parse(reply);
/** Of XREAD and XREADGROUP: the entries of each stream; none when the time was over. */
export const readOf = (reply: unknown): readonly (readonly [stream: string, entries: readonly Entry[]])[] => readSchema.parse(reply) ?? [];
/** Of XPENDING with a range. */
export const pendingOf = (reply: unknown): readonly PendingEntry[] => pendingSchema.parse(reply);
/** Of SMEMBERS and of commands with JUSTID. */
export const textsOf = (reply: unknown): readonly string[] => pairs.parse(reply);

/** In the order of the stream. */
export function compareIds(one: string, other: string): number {
  const [oneMs = 0, oneCount = 0] = one.split('-').map(Number);
  const [otherMs = 0, otherCount = 0] = other.split('-').map(Number);
  return oneMs - otherMs || oneCount - otherCount;
}
