// A simulated process: what it holds of the world goes through here, so that it can be killed between any two effects, frozen and woken, and
// made to see a database or a driver fail. A dead process does nothing more: whatever it was about to do never happens.
import type { Clock, Timer } from '../../src/lib/clock.ts';
import { DriverError } from '../../src/lib/errors.ts';
import type { Chance } from '../support/sim-chance.ts';
import { connectionLost, type Wire } from '../support/sim-database.ts';
import { sleepOn, type VirtualTime } from '../support/sim-time.ts';

/** What the weather does to all processes. */
export interface Weather {
  isDatabaseAway: boolean;
  /** Of one call of a driver: how often it fails before its effect, fails after it, or takes long. */
  driverFaults: number;
}

const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly #time: VirtualTime;
  readonly #chance: Chance;
  readonly #weather: Weather;
  readonly #frozen: (() => void)[] = [];
  readonly #ends: (() => void)[] = [];
  #state: 'alive' | 'frozen' | 'dead' = 'alive';
  /** The process dies at the effect that counts this down to nothing. */
  #effectsLeft = Infinity;

  constructor(options: { name: string; time: VirtualTime; chance: Chance; weather: Weather }) {
    this.name = options.name;
    this.#time = options.time;
    this.#chance = options.chance;
    this.#weather = options.weather;
    const after = (delayMs: number, callback: () => void): Timer => this.#time.after(delayMs, () => this.#run(callback));
    this.clock = {
      now: () => this.#time.now(), date: () => this.#time.date(), after, sleep: (delayMs, signal) => sleepOn({ after }, delayMs, signal),
    };
  }

  get state(): 'alive' | 'frozen' | 'dead' {
    return this.#state;
  }

  whenKilled(end: () => void): void {
    this.#ends.push(end);
  }

  /** As SIGKILL. */
  kill(): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    this.#frozen.length = 0;
    for (const end of this.#ends.splice(0)) end();
  }

  dieAfter(effects: number): void {
    this.#effectsLeft = effects;
  }

  /** As SIGSTOP. */
  freeze(): void {
    if (this.#state === 'alive') this.#state = 'frozen';
  }

  /** As SIGCONT. */
  thaw(): void {
    if (this.#state !== 'frozen') return;
    this.#state = 'alive';
    for (const go of this.#frozen.splice(0)) go();
  }

  /** Before and after each effect: time passes, and the process may not be there any more. */
  async pass(latencyMsMax: number): Promise<void> {
    this.#effectsLeft -= 1;
    if (this.#effectsLeft < 0) this.kill();
    if (this.#state === 'dead') return never();
    await new Promise<void>((resolve) => { this.#time.after(this.#chance.between(0, latencyMsMax), resolve); });
    while (this.#state === 'frozen') await new Promise<void>((resolve) => { this.#frozen.push(resolve); });
    return this.#state === 'alive' ? undefined : never();
  }

  wire(): Wire {
    const check = async (): Promise<void> => {
      await this.pass(2);
      if (this.#weather.isDatabaseAway) throw connectionLost();
    };
    return { before: check, after: check };
  }

  /** The driver as this process sees it. `subscribe` is the only method that is not a promise's. */
  driver<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, name) => {
        const member: unknown = Reflect.get(object, name, object);
        if (typeof member !== 'function') return member;
        const method = member as (...args: unknown[]) => unknown;
        if (name === 'subscribe') return (listener: (event: unknown) => void) => this.#subscribe((heard) => method.call(object, heard) as () => void, listener);
        return (...args: unknown[]) => this.#call(String(name), () => method.apply(object, args));
      },
    });
  }

  async #call(name: string, effect: () => unknown): Promise<unknown> {
    await this.pass(4);
    const fault = this.#chance.next() / (this.#weather.driverFaults || Number.MIN_VALUE);
    if (fault < 0.4) throw new DriverError('failed', `${name}: simulated, before its effect`);
    const value = await effect();
    if (fault < 0.6) throw new DriverError('timeout', `${name}: simulated, after its effect`);
    await this.pass(fault < 1 ? 20_000 : 4);
    return value;
  }

  #subscribe(subscribe: (listener: (event: unknown) => void) => () => void, listener: (event: unknown) => void): () => void {
    const unsubscribe = subscribe((event) => this.#run(() => listener(event)));
    this.whenKilled(unsubscribe);
    return unsubscribe;
  }

  #run(callback: () => void): void {
    if (this.#state === 'alive') callback();
    else if (this.#state === 'frozen') this.#frozen.push(callback);
  }
}
