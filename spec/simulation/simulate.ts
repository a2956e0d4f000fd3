// One simulation from one seed: a cloud, its users and its faults; then quiet; then everything is held against everything.
import { Chance, seedProcess } from '../support/sim-chance.ts';
import { SimDatabase } from '../support/sim-database.ts';
import { VirtualTime, watchImmediates } from '../support/sim-time.ts';
import { SimClients } from './clients.ts';
import { SimCloud } from './cloud.ts';
import { misbehave } from './faults.ts';
import { checkAll, unrest, Watcher } from './invariants.ts';

export interface Outcome {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly trace: readonly string[];
  /** Of the trace: equal for equal seeds. */
  readonly hash: string;
  readonly statements: number;
  readonly simulatedMs: number;
}

/** After the last fault: nothing may take longer than this. */
const quietWithinMs = 60 * 60_000;
/** Some rounds of every reconciler. */
const quietForMs = 90_000;

export class Simulator {
  readonly #database: SimDatabase;

  private constructor(database: SimDatabase) {
    this.#database = database;
  }

  static async open(): Promise<Simulator> {
    return new Simulator(await SimDatabase.open());
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  async simulate(seed: number): Promise<Outcome> {
    const chance = new Chance(seed);
    const restore = [seedProcess(chance.fork('ids')), watchImmediates()];
    const failures: string[] = [];
    const note = (error: unknown): void => void failures.push(`unhandled: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    process.on('unhandledRejection', note);
    try {
      const outcome = await this.#run(seed, chance);
      return { ...outcome, violations: [...outcome.violations, ...failures] };
    } finally {
      await this.#database.forget();
      process.off('unhandledRejection', note);
      for (const undo of restore.toReversed()) undo();
    }
  }

  async #run(seed: number, chance: Chance): Promise<Outcome> {
    const time = new VirtualTime();
    const database = this.#database;
    const statements = database.statements;
    const shape = chance.fork('shape');
    const cloud = new SimCloud({
      time, database, chance, shape: { hosts: shape.between(2, 4), coresOfHost: shape.between(2, 8), schedulers: shape.hits(0.4) ? 2 : 1 },
    });
    await cloud.lay();
    const clients = new SimClients(cloud);
    const watcher = new Watcher(cloud);
    clients.start(shape.between(1, 3), shape.between(4, 10));
    const faultsEndMs = shape.between(40, 200) * 1_000;
    void misbehave(cloud, faultsEndMs);
    await time.run(faultsEndMs, () => watcher.look());
    await settle(cloud, clients, watcher);
    if (shape.hits(0.25) && cloud.violations.length === 0) {
      clients.terminateAll();
      await settle(cloud, clients, watcher);
    }
    cloud.end();
    return {
      seed, violations: cloud.violations, trace: cloud.trace, hash: cloud.hash(), statements: database.statements - statements, simulatedMs: time.elapsedMs,
    };
  }
}

/** Until it is quiet, and on until it must be at peace. */
async function settle(cloud: SimCloud, clients: SimClients, watcher: Watcher): Promise<void> {
  const { time } = cloud;
  const giveUpMs = time.elapsedMs + quietWithinMs;
  let quietSinceMs: number | undefined;
  while (cloud.violations.length === 0 && time.elapsedMs < giveUpMs) {
    await time.run(time.elapsedMs + 10_000, () => watcher.look());
    if (unrest(cloud, clients) !== undefined) quietSinceMs = undefined;
    else quietSinceMs ??= time.elapsedMs;
    if (quietSinceMs !== undefined && time.elapsedMs - quietSinceMs >= quietForMs) break;
  }
  if (cloud.violations.length === 0) checkAll(cloud, clients, watcher.excusedAt);
}

/** What is shown of a failure: enough to understand it, and how to see it again. */
export function report(outcome: Outcome, linesMax = 60): string {
  const shown = outcome.trace.slice(-linesMax);
  return [
    `seed ${outcome.seed} failed:`, ...outcome.violations.map((text) => `  ${text}`), `the last ${shown.length} of ${outcome.trace.length} lines:`, ...shown,
    `again: NOVACT_SIM_SEED=${outcome.seed} npx vitest run --project services spec/simulation, or npm run simulate -- --seed ${outcome.seed} --trace`,
  ].join('\n');
}
