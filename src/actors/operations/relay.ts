// The relay of a process: carries what its transactions (and those of processes that died) left in the outbox to the mailboxes. It is kicked
// after a commit and looks by itself every second. No order is promised between relays: a message only says where to look, and owners
// perform what they find in the order of the database (decision 0007).
import type { Db } from '../../db/db.ts';
import { countOutbox, relayBatch } from '../../db/outbox.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { backOffMs } from '../../lib/retry.ts';
import type { Relay, Transport } from '../../transport/transport.ts';
import type { ActorContext, ActorDefinition, ActorSystem } from '../runtime/actor.ts';

export interface RelayDeps {
  readonly db: Db;
  readonly transport: Pick<Transport, 'deliver'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly system: ActorSystem;
  /** Between looks without a kick; default 1 s. */
  readonly intervalMs?: number;
  /** Messages in one transaction; default 256. */
  readonly batchMax?: number;
  /** So many in the outbox, and new work is not accepted; default 10 000. */
  readonly backlogMax?: number;
  /** For jitter; default Math.random. */
  readonly random?: () => number;
}

type RelayMessage = { readonly type: 'kick' | 'look' };

/** After a refusal of a mailbox, or of everything. */
const backOff = { firstDelayMs: 250, delayMsMax: 5_000 };
/** In one go, before other messages of the actor are looked at. */
const batchesMax = 100;

/** Starts the relay of this process as the actor `relay` of its system, which ends it. */
export function startRelay(deps: RelayDeps): Relay {
  const work = new RelayWork(deps);
  let kicked = false;
  const relay: ActorDefinition<null, RelayMessage> = {
    kind: 'relay',
    init(context) {
      context.after(0, { type: 'look' });
      context.every(deps.intervalMs ?? 1_000, { type: 'look' });
      return null;
    },
    async handle(_state, { type }, context) {
      kicked = false;
      await work.go(type, context);
    },
    onError: () => 'resume',
  };
  const ref = deps.system.spawn(relay, 'relay', undefined);
  return {
    kick() {
      if (kicked) return;
      kicked = true;
      deps.system.tell(ref, { type: 'kick' });
    },
    accepts: (mailbox) => work.accepts(mailbox),
  };
}

interface Refusal {
  readonly tries: number;
  readonly until: number;
}

class RelayWork {
  readonly #deps: RelayDeps;
  readonly #refusals = new Map<string, Refusal>();
  #failures = 0;
  #restUntil = 0;
  #backlog = 0;

  constructor(deps: RelayDeps) {
    this.#deps = deps;
  }

  accepts(mailbox: string): boolean {
    return !this.#refusals.has(mailbox) && this.#backlog < this.#backlogMax;
  }

  get #backlogMax(): number {
    return this.#deps.backlogMax ?? 10_000;
  }

  async go(why: RelayMessage['type'], { signal, clock }: Pick<ActorContext<RelayMessage>, 'signal' | 'clock'>): Promise<void> {
    const rests = clock.now() < this.#restUntil;
    if (rests && why === 'kick') return;
    if (!rests) await this.#relayAll(signal);
    // Otherwise everything was sent, or is being sent by another.
    const isBehind = this.#failures > 0 || this.#refusals.size > 0;
    if (isBehind) this.#backlog = await countOutbox(this.#deps.db, this.#backlogMax);
    else this.#backlog = 0;
  }

  async #relayAll(signal: AbortSignal): Promise<void> {
    const { log } = this.#deps;
    try {
      for (let batch = 0; batch < batchesMax && !signal.aborted; batch += 1) if (!(await this.#relaySome())) break;
      if (this.#failures > 0) log.info({ failures: this.#failures }, 'the outbox is sent again');
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      this.#restUntil = this.#deps.clock.now() + this.#pauseMs(this.#failures);
      if (this.#failures === 1) log.warn({ error: messageOf(error) }, 'the outbox cannot be sent; it is tried again until it can');
    }
  }

  /** False: nothing is left that could be sent now. */
  async #relaySome(): Promise<boolean> {
    const { db, transport, clock, batchMax = 256 } = this.#deps;
    const now = clock.now();
    const except = [...this.#refusals].filter(([, { until }]) => until > now).map(([mailbox]) => mailbox);
    const { taken, refusedBy } = await relayBatch(db, { countMax: batchMax, except }, (messages) => transport.deliver(messages));
    for (const mailbox of refusedBy) {
      const tries = (this.#refusals.get(mailbox)?.tries ?? 0) + 1;
      this.#refusals.set(mailbox, { tries, until: now + this.#pauseMs(tries) });
    }
    const isAll = taken < batchMax;
    // Those whose time had come and that refused nothing have room again, or nothing waits for them.
    if (isAll) for (const [mailbox, { until }] of this.#refusals) if (until <= now) this.#refusals.delete(mailbox);
    return !isAll;
  }

  #pauseMs(tries: number): number {
    return backOffMs(tries, backOff) * (0.75 + (this.#deps.random ?? Math.random)() * 0.5);
  }
}
