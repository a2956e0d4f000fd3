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

const texts = z.array(z.string());
const pendingSchema = z.array(z.tuple([z.string(), z.string(), z.number(), z.number()]).transform(
  ([id, consumer, , deliveries]): PendingEntry => ({ id, consumer, deliveries }),
));

/** Of XRANGE and XCLAIM. */
export const entriesOf = (reply: unknown): readonly Entry[] => listOf(reply).flatMap(entryOf);
/** Of XREAD and XREADGROUP: the entries of each stream; none when the time was over. */
export const readOf = (reply: unknown): readonly (readonly [stream: string, entries: readonly Entry[]])[] =>
  listOf(reply).map((stream) => [textOf(listOf(stream)[0]), entriesOf(listOf(stream)[1])]);
/** Of XPENDING with a range. */
export const pendingOf = (reply: unknown): readonly PendingEntry[] => pendingSchema.parse(reply);
/** Of SMEMBERS and of commands with JUSTID. */
export const textsOf = (reply: unknown): readonly string[] => texts.parse(reply);

// By hand, since every message comes this way: a schema would cost more than Redis does.
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** An entry that was deleted while it was pending is none. */
function entryOf(value: unknown): readonly Entry[] {
  const [id, fields] = listOf(value);
  if (typeof id !== 'string' || !Array.isArray(fields)) return [];
  const key = textOf(fields[0]);
  return [{ id, text: textOf(fields[1]), key: key === '' ? undefined : key }];
}

/** When what follows at once from the entries that were just read has been written. Cheaper than a turn of the event loop. */
export const afterThisTurn = (): Promise<void> => new Promise((resolve) => {
  process.nextTick(() => process.nextTick(resolve));
});

/** In the order of the stream. */
export function compareIds(one: string, other: string): number {
  const [oneMs = 0, oneCount = 0] = one.split('-').map(Number);
  const [otherMs = 0, otherCount = 0] = other.split('-').map(Number);
  return oneMs - otherMs || oneCount - otherCount;
}
