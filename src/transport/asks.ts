// The reply-actors of one process: each open ask has one until its answer, its deadline or the end of the transport.
import type { Clock, Timer } from '../lib/clock.ts';
import { replyBodySchema, type Envelope } from '../messages/envelope.ts';
import type { z } from 'zod';
import { errorOf } from './codec.ts';
import { TransportError } from './transport.ts';

interface OpenAsk {
  readonly type: string;
  readonly schema: z.ZodType;
  readonly timer: Timer;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

export class OpenAsks {
  readonly #clock: Clock;
  readonly #open = new Map<string, OpenAsk>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#open.size;
  }

  /** The answer to the envelope of that id. */
  wait(id: string, ask: { type: string; schema: z.ZodType; timeoutMs: number }): Promise<unknown> {
    const { type, schema, timeoutMs } = ask;
    return new Promise((resolve, reject) => {
      const late = (): void => this.fail(id, new TransportError('timeout', `no answer to ${type} within ${timeoutMs} ms`));
      // One setTimeout wraps above 2^31-1 ms; nobody waits 24 days for an answer.
      const timer = this.#clock.after(Math.min(timeoutMs, 2 ** 31 - 1), late);
      this.#open.set(id, { type, schema, timer, resolve, reject });
    });
  }

  /** False when nobody waits for it any more. The answer is checked on this side too. */
  settle(reply: Envelope): boolean {
    const ask = this.#take(reply.correlation ?? '');
    if (ask === undefined) return false;
    const body = replyBodySchema.safeParse(reply.body);
    if (!body.success) ask.reject(new TransportError('invalid', `the reply to ${ask.type} is none`));
    else if (!body.data.ok) ask.reject(errorOf(body.data));
    else {
      const value = ask.schema.safeParse(body.data.value);
      if (value.success) ask.resolve(value.data);
      else ask.reject(new TransportError('invalid', `the reply to ${ask.type}: ${value.error.message}`));
    }
    return true;
  }

  fail(id: string, error: unknown): void {
    this.#take(id)?.reject(error);
  }

  failAll(error: unknown): void {
    for (const id of this.#open.keys()) this.fail(id, error);
  }

  #take(id: string): OpenAsk | undefined {
    const ask = this.#open.get(id);
    if (ask === undefined) return undefined;
    this.#open.delete(id);
    ask.timer.cancel();
    return ask;
  }
}
