// Durable operations: what is wished, by whom, until when, and how far it has come. A message only makes the owner look here sooner.
import { bigint, bigserial, index, integer, jsonb, pgTable, text } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';

export type OperationState = 'waiting' | 'running' | 'undoing' | 'done' | 'failed';

/** How far one step of the flow has come. `output` is what later steps and a resumed run need of it. */
export interface StepRecord {
  readonly name: string;
  readonly state: 'doing' | 'done' | 'undone';
  readonly output?: unknown;
}

/** A mailbox (`scheduler`, `compute@h1`) and the actor there. */
export interface DurableReplyTo {
  readonly mailbox: string;
  readonly actor: string;
}

export const operations = pgTable(
  'operations',
  {
    id: text('id').primaryKey(),
    /** Operations of one resource are performed in this order. */
    sequence: bigserial('sequence', { mode: 'number' }).notNull(),
    /** `instance.run`, `image.register` …: names the flow. */
    kind: text('kind').notNull(),
    resourceId: text('resource_id').notNull(),
    projectId: text('project_id').notNull(),
    userId: text('user_id').notNull(),
    requestId: text('request_id').notNull(),
    input: jsonb('input').$type<Record<string, unknown>>().notNull(),
    state: text('state').$type<OperationState>().notNull(),
    /** `compute@host1`, or a shared role; null until an owner is known. */
    owner: text('owner'),
    /** The owner's epoch when it took the operation; 0: not taken. */
    epoch: bigint('epoch', { mode: 'number' }).notNull().default(0),
    steps: jsonb('steps').$type<StepRecord[]>().notNull().default([]),
    attempts: integer('attempts').notNull().default(0),
    error: text('error'),
    /** Who is told, by a message written in the transaction that ends the operation: a reply-actor that outlives its asker. */
    replyTo: jsonb('reply_to').$type<DurableReplyTo>(),
    /** Past this it is undone and failed. */
    deadline: instant('deadline').notNull(),
    createdAt: instant('created_at').notNull(),
    updatedAt: instant('updated_at').notNull(),
  },
  (table) => [index().on(table.resourceId, table.sequence), index().on(table.state, table.owner)],
);

/**
 * Messages that wait to be put into a mailbox, written in the transaction that they tell of. The relay deletes them as it sends them: what
 * is here was not sent yet, or was sent by a relay that died, and is sent again with the same id.
 */
export const outbox = pgTable(
  'outbox',
  {
    /** The envelope's id. */
    id: text('id').primaryKey(),
    sequence: bigserial('sequence', { mode: 'number' }).notNull(),
    /** `scheduler`, `compute@h1`. */
    mailbox: text('mailbox').notNull(),
    /** The encoded envelope. */
    envelope: text('envelope').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [index().on(table.sequence)],
);
