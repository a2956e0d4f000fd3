// What roles may say to each other: one table per role, from which come the types, the check at the receiving
// transport, and docs/reference/messages.md. Bodies carry ids, not rows; a released body only gains optional fields.
import type { z } from 'zod';

export interface MessageEntry {
  /** What it asks for, and why repeating it is safe. */
  readonly doc: string;
  readonly body: z.ZodType;
  /** The shape of the answer; absent for a message that nobody waits for. */
  readonly reply?: z.ZodType;
}

export type MessageTable = Readonly<Record<string, MessageEntry>>;

export interface Protocol<Table extends MessageTable = MessageTable> {
  /** The role whose mailbox takes these messages. */
  readonly role: Role;
  readonly table: Table;
}

/** Roles that have mailboxes. An owned mailbox is (role, host); a shared one is the role alone. */
export type Role = 'api' | 'scheduler' | 'compute' | 'network' | 'volume' | 'objectstore';

export function protocol<Table extends MessageTable>(role: Role, table: Table): Protocol<Table> {
  return { role, table };
}

export type BodyOf<Entry extends MessageEntry> = z.output<Entry['body']>;
export type ReplyOf<Entry extends MessageEntry> = Entry['reply'] extends z.ZodType ? z.output<Entry['reply']> : void;

export type TellVerb<Table extends MessageTable> = { [V in keyof Table]: Table[V]['reply'] extends z.ZodType ? never : V }[keyof Table] & string;
export type AskVerb<Table extends MessageTable> = { [V in keyof Table]: Table[V]['reply'] extends z.ZodType ? V : never }[keyof Table] & string;

/** One handler for each verb: the compiler names the one that is missing. */
export type Handlers<Table extends MessageTable, Context> = {
  readonly [V in keyof Table]: (body: BodyOf<Table[V]>, context: Context) => Promise<ReplyOf<Table[V]>> | ReplyOf<Table[V]>;
};

/** The entry of a verb; undefined for one that the table does not own, whatever its name (`constructor`, `__proto__`). */
export function entryOf(table: MessageTable, verb: string): MessageEntry | undefined {
  return Object.hasOwn(table, verb) ? table[verb] : undefined;
}
