// The dead letters and the depths of all mailboxes, wherever they are served.
import { z } from 'zod';
import { valuesOf, type Reply, type RedisWriter } from './redis-connection.ts';
import { entriesOf, pendingOf, textsOf } from './redis-entries.ts';
import { group, mailboxesKey, mailboxKeys } from './redis-keys.ts';
import type { DeadLetter, MailboxDepth } from './transport.ts';

/** A dead letter and where it lies. */
export interface FiledLetter {
  readonly letter: DeadLetter;
  readonly stream: string;
  readonly entryId: string;
}

const letterSchema = z.object({
  id: z.string(), envelope: z.string().optional(), type: z.string(), to: z.string(),
  reason: z.enum(['expired', 'poison', 'invalid', 'unknownType', 'unknownVersion', 'noReceiver']),
  error: z.string().optional(), at: z.number(),
});

/** Listed of each mailbox, the newest. */
const listedMax = 1000;
const pendingMax = 1000;

export async function listDeadLetters(writer: RedisWriter): Promise<readonly FiledLetter[]> {
  const streams = (await mailboxesOf(writer)).map((mailbox) => mailboxKeys(mailbox).deadLetters);
  const lists = valuesOf(await writer.batch(streams.map((stream) => ['xrevrange', stream, '+', '-', 'COUNT', listedMax])));
  const filed = lists.flatMap((list, index) => entriesOf(list).toReversed().flatMap((entry): FiledLetter[] => {
    const letter = letterOf(entry.text);
    // What was no envelope has no id of its own.
    return letter === undefined ? [] : [{ letter: { ...letter, id: letter.id || entry.id }, stream: streams[index] ?? '', entryId: entry.id }];
  }));
  return filed.toSorted((one, other) => one.letter.at - other.letter.at);
}

/** False: somebody else took it out. */
export async function removeDeadLetter(writer: RedisWriter, { stream, entryId }: FiledLetter): Promise<boolean> {
  return (await writer.command('XDEL', stream, entryId)) === 1;
}

export async function listDepths(writer: RedisWriter): Promise<readonly MailboxDepth[]> {
  const mailboxes = await mailboxesOf(writer);
  const replies = await writer.batch(mailboxes.flatMap((mailbox) => {
    const { stream } = mailboxKeys(mailbox);
    return [['xlen', stream], ['xpending', stream, group, '-', '+', pendingMax]] as const;
  }));
  return mailboxes.map((mailbox, index) => {
    const [length] = valuesOf(replies.slice(index * 2, index * 2 + 1));
    const inHand = begunOf(replies[index * 2 + 1]);
    return { mailbox, waiting: Math.max(0, Number(length) - inHand), inHand };
  });
}

async function mailboxesOf(writer: RedisWriter): Promise<readonly string[]> {
  return textsOf(await writer.command('SMEMBERS', mailboxesKey)).toSorted();
}

/** Those that were begun and are not done; none of a mailbox that nobody serves yet. */
function begunOf(reply: Reply | undefined): number {
  if (reply === undefined) return 0;
  if ('error' in reply && reply.error.message.startsWith('NOGROUP')) return 0;
  return pendingOf(valuesOf([reply])[0]).filter(({ deliveries }) => deliveries > 0).length;
}

function letterOf(text: string): DeadLetter | undefined {
  try {
    const letter = letterSchema.safeParse(JSON.parse(text));
    return letter.success ? { ...letter.data, error: letter.data.error } : undefined;
  } catch {
    return undefined; // nothing of ours
  }
}
