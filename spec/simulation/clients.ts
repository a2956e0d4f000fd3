// The users of the simulated cloud: life cycles through the API, with calls that get no answer and are repeated, as tools do. They remember what
// they were told, so that it can be held against what became of it.
import { ApiError } from '../../src/lib/errors.ts';
import type { Chance } from '../support/sim-chance.ts';
import { sleepOn } from '../support/sim-time.ts';
import type { SimCloud } from './cloud.ts';

export interface Wish {
  readonly state: 'running' | 'stopped' | 'terminated' | 'unknown';
  /** When the call was sent that was answered. */
  readonly sentAt: number;
}

export interface Launched {
  readonly token: string;
  readonly count: number;
  /** Undefined: it was refused, or never answered. */
  ids: readonly string[] | undefined;
}

interface Answer {
  readonly Instances?: readonly { readonly InstanceId?: string }[];
}

const answerTimeoutMs = 30_000;
const instanceTypes = ['m1.tiny', 'm1.small'];

export class SimClients {
  readonly launches: Launched[] = [];
  /** By instance: the last thing that a user was promised. */
  readonly wishes = new Map<string, Wish>();
  readonly #cloud: SimCloud;
  #busy = 0;
  #requests = 0;

  constructor(cloud: SimCloud) {
    this.#cloud = cloud;
  }

  get areDone(): boolean {
    return this.#busy === 0;
  }

  /** Each client looks after its own instances, one call after another. */
  start(count: number, actionsOfEach: number): void {
    for (let number = 1; number <= count; number += 1) {
      this.#busy += 1;
      void this.#live(this.#cloud.chance.fork(`client ${number}`), actionsOfEach).then(() => (this.#busy -= 1));
    }
  }

  /** All that is left is ended. */
  terminateAll(): void {
    const ids = [...this.wishes].filter(([, wish]) => wish.state !== 'terminated').map(([id]) => id);
    if (ids.length === 0) return;
    this.#busy += 1;
    void this.#wish(this.#cloud.chance.fork('cleaner'), 'TerminateInstances', ids, 'terminated').then(() => (this.#busy -= 1));
  }

  async #live(chance: Chance, actions: number): Promise<void> {
    const mine: string[] = [];
    for (let action = 0; action < actions; action += 1) {
      await sleepOn(this.#cloud.time, chance.between(100, 25_000));
      const id = chance.pick(mine.filter((one) => this.wishes.get(one)?.state !== 'terminated'));
      if (id === undefined || chance.hits(0.25)) mine.push(...(await this.#launch(chance)));
      else if (chance.hits(0.2)) await this.#wish(chance, 'TerminateInstances', [id], 'terminated');
      else if (chance.hits(0.35)) await this.#wish(chance, 'StopInstances', [id], 'stopped', chance.hits(0.2) ? { Force: true } : {});
      else if (chance.hits(0.4)) await this.#wish(chance, 'StartInstances', [id], 'running');
      else if (chance.hits(0.5)) await this.#call(chance, 'RebootInstances', { InstanceIds: [id] });
      else await this.#call(chance, 'DescribeInstances', { InstanceIds: [id] });
    }
  }

  async #launch(chance: Chance): Promise<readonly string[]> {
    const token = `token-${this.launches.length + 1}`;
    const count = chance.between(1, 3);
    const launched: Launched = { token, count, ids: undefined };
    this.launches.push(launched);
    const input = {
      ImageId: this.#cloud.imageId, MinCount: count, MaxCount: count, ClientToken: token, InstanceType: chance.pick(instanceTypes),
      ...(chance.hits(0.2) ? { InstanceInitiatedShutdownBehavior: 'terminate' } : {}),
    };
    const called = await this.#call(chance, 'RunInstances', input);
    const answer = called?.answer as Answer | undefined;
    launched.ids = answer?.Instances?.map(({ InstanceId }) => InstanceId ?? '');
    for (const id of launched.ids ?? []) if (!this.wishes.has(id)) this.wishes.set(id, { state: 'running', sentAt: called?.sentAt ?? 0 });
    return launched.ids ?? [];
  }

  async #wish(chance: Chance, action: string, ids: readonly string[], state: Wish['state'], more: object = {}): Promise<void> {
    const called = await this.#call(chance, action, { InstanceIds: ids, ...more }, () => this.#overtaken(ids));
    // A refusal after a try without an answer: nobody knows whether that one was heard.
    const wish = called === undefined ? { state: 'unknown', sentAt: 0 } as const : called.answer === undefined ? undefined : { state, sentAt: called.sentAt };
    if (wish !== undefined) for (const id of ids) this.wishes.set(id, wish);
  }

  /**
   * An API that stood still has done what it was asked for, after its user had given up, and perhaps was promised something else by another API.
   * No server can know that nobody waits any more: what the instance is to be is anybody's guess, until it has ended.
   */
  #overtaken(ids: readonly string[]): void {
    for (const id of ids) if (this.wishes.get(id)?.state !== 'terminated') this.wishes.set(id, { state: 'unknown', sentAt: 0 });
  }

  /** Repeated until it is answered. Without `answer`: refused. Undefined: refused after a try that got no answer. `onLate`: a try given up was heard. */
  async #call(
    chance: Chance, action: string, input: object, onLate: () => void = () => undefined,
  ): Promise<{ readonly answer?: unknown; readonly sentAt: number } | undefined> {
    this.#requests += 1;
    const requestId = `request-${this.#requests}`;
    for (let attempt = 1; ; attempt += 1) {
      const sentAt = this.#cloud.time.now();
      const outcome = await this.#once(chance, action, input, { requestId, onLate });
      this.#cloud.say(`${requestId} ${action} ${describe(input)}: ${outcome.text}`);
      if (outcome.kind === 'answered') return { answer: outcome.answer, sentAt };
      if (outcome.kind === 'refused') return attempt === 1 ? { sentAt } : undefined;
      await sleepOn(this.#cloud.time, chance.between(500, 8_000));
    }
  }

  async #once(chance: Chance, action: string, input: object, { requestId, onLate }: { requestId: string; onLate: () => void }): Promise<Outcome> {
    const api = this.#cloud.api(chance);
    if (api === undefined) return { kind: 'unanswered', text: 'no api runs' };
    const unanswered = new Promise<Outcome>((resolve) => {
      api.process.whenKilled(() => resolve({ kind: 'unanswered', text: `${api.process.name} died` }));
      this.#cloud.time.after(answerTimeoutMs, () => resolve({ kind: 'unanswered', text: 'no answer in time' }));
    });
    const answered = api.call(action, input, requestId).then(
      (answer): Outcome => ({ kind: 'answered', answer, text: `ok ${instanceIds(answer)}` }),
      (error: unknown): Outcome => (error instanceof ApiError && error.code !== 'ServiceUnavailable'
        ? { kind: 'refused', text: error.code } : { kind: 'unanswered', text: `failed: ${String(error).slice(0, 80)}` }),
    );
    const outcome = await Promise.race([answered, unanswered]);
    if (outcome.kind === 'unanswered') void answered.then((late) => late.kind === 'answered' && onLate());
    // The answer is lost on its way now and then.
    return outcome.kind === 'answered' && chance.hits(0.05) ? { kind: 'unanswered', text: 'the answer was lost' } : outcome;
  }
}

type Outcome =
  | { readonly kind: 'answered'; readonly answer: unknown; readonly text: string }
  | { readonly kind: 'refused' | 'unanswered'; readonly text: string };

const describe = (input: object): string => JSON.stringify(input).replaceAll(/"(ImageId|MinCount|InstanceIds)":|[{}"]/g, '');
const instanceIds = (answer: unknown): string => [...new Set(JSON.stringify(answer ?? {}).match(/i-[0-9a-f]{17}/g))].join(' ');
