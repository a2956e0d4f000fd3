// `npm run chaos -- --minutes N --seed S`: kills everything at random while customers use the cloud, and says what became of them. Root only.
import { parseArgs } from 'node:util';
import { chaos, summary } from '../spec/chaos/chaos.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    hosts: { type: 'string', default: '2' },
    customers: { type: 'string', default: '3' },
    guests: { type: 'string', default: 'lxc' },
  },
});
const guests = values.guests === 'qemu' ? 'qemu' : 'lxc';
const options = {
  minutes: Number(values.minutes), seed: Number(values.seed), hosts: Number(values.hosts), customers: Number(values.customers), guests,
} as const;
const who = `${options.hosts} hosts, ${options.customers} customers, ${guests} guests`;
console.log(`chaos for ${options.minutes} minutes with seed ${options.seed}: ${who}`);
const { tally, deeds } = await chaos({ ...options, onProgress: (text) => console.log(text) });
for (const { atMs, what } of deeds) console.log(`${(atMs / 1_000).toFixed(1).padStart(7)} s  ${what}`);
console.log(summary(tally));
for (const fault of tally.faults) console.log(`FAULT ${fault}`);
console.log(tally.faults.length === 0
  ? `nothing was lost, doubled or stuck (seed ${options.seed})`
  : `again with: npm run chaos -- --minutes ${options.minutes} --seed ${options.seed}`);
process.exit(tally.faults.length === 0 ? 0 : 1);
