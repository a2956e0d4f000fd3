// Runs simulations: `npm run simulate -- --seed 123 --trace` one of them, `-- --seeds 10000 [--from N] [--workers 2]` many. Ends with 1 when
// one failed, and says which.
import { fork } from 'node:child_process';
import { parseArgs } from 'node:util';
import { report, Simulator } from '../spec/simulation/simulate.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' }, seeds: { type: 'string', default: '200' }, from: { type: 'string', default: '1' }, workers: { type: 'string', default: '1' },
    step: { type: 'string', default: '1' }, trace: { type: 'boolean', default: false },
  },
});

const number = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`not a number: ${text}`);
  return value;
};

async function simulateOne(seed: number): Promise<boolean> {
  const simulator = await Simulator.open();
  const outcome = await simulator.simulate(seed);
  if (values.trace) console.log(outcome.trace.join('\n'));
  console.log(outcome.violations.length > 0 ? report(outcome, values.trace ? 0 : 60) : `seed ${seed} holds, trace ${outcome.hash}`);
  console.log(`${(outcome.simulatedMs / 60_000).toFixed(1)} simulated minutes, ${outcome.statements} statements`);
  await simulator.close();
  return outcome.violations.length === 0;
}

async function simulateMany(seeds: readonly number[]): Promise<boolean> {
  const simulator = await Simulator.open();
  const startedAt = performance.now();
  const failed: number[] = [];
  let simulatedMs = 0;
  for (const [index, seed] of seeds.entries()) {
    const outcome = await simulator.simulate(seed);
    ({ simulatedMs } = { simulatedMs: simulatedMs + outcome.simulatedMs });
    if (outcome.violations.length > 0) {
      failed.push(seed);
      console.log(report(outcome));
    }
    if ((index + 1) % 100 === 0 || index + 1 === seeds.length) say(index + 1, seeds.length, { startedAt, simulatedMs, failed });
  }
  await simulator.close();
  return failed.length === 0;
}

function say(done: number, all: number, { startedAt, simulatedMs, failed }: { startedAt: number; simulatedMs: number; failed: readonly number[] }): void {
  const seconds = (performance.now() - startedAt) / 1_000;
  const rate = (done / seconds).toFixed(2);
  console.log(`${done} of ${all} seeds, ${rate} per second, ${(simulatedMs / 3_600_000).toFixed(1)} simulated hours, failed: ${failed.join(' ') || 'none'}`);
}

/** Each worker takes every n-th seed. */
async function simulateInWorkers(workers: number): Promise<boolean> {
  const codes = await Promise.all(Array.from({ length: workers }, (_, index) => new Promise<number>((resolve) => {
    const rest = ['--seeds', values.seeds, '--from', String(number(values.from) + index), '--step', String(workers)];
    fork(import.meta.filename, rest, { stdio: 'inherit' }).on('exit', (code) => resolve(code ?? 1));
  })));
  return codes.every((code) => code === 0);
}

const workers = number(values.workers);
const [first, step] = [number(values.from), number(values.step)];
const seeds: number[] = [];
for (let seed = first; seed < first - ((first - 1) % step) + number(values.seeds); seed += step) seeds.push(seed);
const holds = values.seed !== undefined ? await simulateOne(number(values.seed)) : workers > 1 ? await simulateInWorkers(workers) : await simulateMany(seeds);
process.exit(holds ? 0 : 1);
