// Novact's tables of nftables in a network namespace: from one state to another as if they were made anew, wholly or not at all, and whatever others do
// to them or beside them. Root only; no guests.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FirewallSpec } from '../../src/drivers/network/driver.ts';
import { firewallTables, noTables, renderFirewall } from '../../src/drivers/network/linux/nft.ts';
import { renderRemoval } from '../../src/drivers/network/linux/ruleset.ts';
import { createTablesInForce } from '../../src/drivers/network/linux/tables-in-force.ts';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { largeFirewall, randomFirewall, rulesInForce } from '../support/firewall-wishes.ts';
import { seeded } from '../support/random-values.ts';
import { eventually } from '../support/waiting.ts';

const root = createRun({ log: silentLog });
const names = ['nvfw-changed', 'nvfw-anew'] as const;
const changed = createRun({ log: silentLog, networkNamespace: names[0] });
const anew = createRun({ log: silentLog, networkNamespace: names[1] });
const context = { matchesBridges: false, uplink: undefined };
const foreign = 'table inet other {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t\ttcp dport 9 drop\n\t}\n}\n';

const opened = (run: Run = changed) => {
  const tables = createTablesInForce({ run, log: silentLog });
  return { ...tables, ensure: (wish: FirewallSpec, onUnknown?: () => Promise<void>) => tables.ensure(firewallTables(wish, context), onUnknown) };
};
/** As the kernel has a wish that was written whole where nothing was. */
async function asAnew(wish: FirewallSpec): Promise<string> {
  await anew('nft', ['-f', '-'], { input: renderFirewall(wish, context) });
  return rulesInForce(anew);
}
/** Each rule with the number that it got when it was made. */
const numbered = async (): Promise<string> => (await changed('nft', ['-a', 'list', 'table', 'inet', 'novact'])).stdout;
const nft = (input: string) => changed('nft', ['-f', '-'], { input });

async function removeNamespaces(): Promise<void> {
  for (const name of names) await root('ip', ['netns', 'delete', name], { okCodes: [0, 1] });
}
beforeAll(async () => {
  await removeNamespaces();
  for (const name of names) await root('ip', ['netns', 'add', name]);
});
afterAll(removeNamespaces);
beforeEach(async () => {
  await nft(`${renderRemoval(noTables)}table inet other\ndelete table inet other\n${foreign}`);
});

const port = (n: number) => largeFirewall(20).ports[n] ?? (() => { throw new Error(`no port ${n}`); })();
const small = largeFirewall(20);
/** The rules of one group, that of the first port, differ. */
const edited: FirewallSpec = { ...small, ports: small.ports.map((one) => (one.ingress === port(0).ingress ? { ...one, ingress: one.ingress.slice(1) } : one)) };

describe('rules that are changed', () => {
  it('are the same as if they had been made anew, whatever the change', async () => {
    const [random, tables] = [seeded(4), opened()];
    for (let step = 0; step < 30; step += 1) {
      const wish = randomFirewall(random);
      expect(await tables.ensure(wish)).toBe(true);
      expect(await rulesInForce(changed), `step ${step}`).toBe(await asAnew(wish));
    }
  });

  it('leave what they do not touch as it is, and everything when nothing differs', async () => {
    const tables = opened();
    await tables.ensure(small);
    const before = await numbered();
    expect(await tables.ensure(small)).toBe(false);
    expect(await numbered()).toBe(before);
    await tables.ensure({ ...small, ports: small.ports.filter((one) => one !== small.ports[0]) });
    const chains = (text: string): string[] => [...text.matchAll(/\tchain \w+ \{[^}]*\}/g)].map(([chain]) => chain);
    expect(chains(await numbered())).toEqual(chains(before));
  });

  it('are replaced whole by a process that does not know them, which asks before it does', async () => {
    await opened().ensure(small);
    const asked: string[] = [];
    await opened().ensure(edited, async () => void asked.push(await rulesInForce(changed)));
    expect(asked).toEqual([await asAnew(small)]);
    expect(await rulesInForce(changed)).toBe(await asAnew(edited));
  });
});

describe('what somebody else does', () => {
  const breakages: readonly (readonly [string, string])[] = [
    ['deletes a table', 'delete table bridge novact\n'],
    ['empties a chain', 'flush chain inet novact forward\n'],
    ['opens a guest', `add rule inet novact closed accept\n`],
    ['takes an element', `delete element bridge novact taps { "${port(3).tap}" }\n`],
  ];

  it.each(breakages)('%s: it is put right, whether the wish is the same, or another', async (_, input) => {
    for (const next of [small, edited]) {
      const tables = opened();
      await tables.ensure(small);
      await nft(input);
      expect(await tables.ensure(next)).toBe(true);
      expect(await rulesInForce(changed)).toBe(await asAnew(next));
    }
  });

  it.each(breakages)('%s, long after: it is put right, too', async (_, input) => {
    const tables = opened();
    await tables.ensure(small);
    expect(await tables.ensure(small)).toBe(false);
    await nft(`add rule inet other input tcp dport 10 drop\n`);
    expect(await tables.ensure(small)).toBe(false);
    await nft(input);
    expect(await tables.ensure(small)).toBe(true);
    expect(await rulesInForce(changed)).toBe(await asAnew(small));
  });

  it('beside novact\'s tables is no reason to touch them', async () => {
    const tables = opened();
    await tables.ensure(small);
    expect(await tables.ensure(small)).toBe(false);
    const before = await numbered();
    await nft('add rule inet other input tcp dport 11 drop\n');
    expect(await tables.ensure(small)).toBe(false);
    expect(await numbered()).toBe(before);
    await nft('add rule inet other input tcp dport 12 drop\n');
    await tables.ensure(edited);
    expect(await rulesInForce(changed)).toBe(await asAnew(edited));
    const kept = [...before.matchAll(/ip saddr 10\.1\.\d+\.0\/24 .*# handle \d+/g)].map(([rule]) => rule);
    const after = await numbered();
    expect(kept.length).toBeGreaterThan(0);
    expect(kept.filter((rule) => !after.includes(rule))).toEqual([]);
  });
});

describe('N11: whoever applies rules and is killed at it', () => {
  it('has applied them wholly or not at all, and the next one finds its way; rules of others stay', async () => {
    const states = [await asAnew(largeFirewall(1_000)), await asAnew(largeFirewall(1_000, 1))];
    const random = seeded(11);
    for (let round = 0; round < 8; round += 1) {
      const execArgv = ['--import', join(import.meta.dirname, '../../node_modules/tsx/dist/loader.mjs')];
      const child = fork(join(import.meta.dirname, '../support/apply-rules-in-process.mts'), [names[0], '1000'], { execArgv });
      const ended = once(child, 'exit');
      await once(child, 'message');
      await pause(random() * 700);
      child.kill('SIGKILL');
      await ended;
      await eventually(async () => (await root('ip', ['netns', 'pids', names[0]])).stdout === '', 'what it had started has ended');
      expect(states).toContain(await rulesInForce(changed));
    }
    const tables = opened();
    for (const wish of [largeFirewall(1_000), small]) {
      await tables.ensure(wish);
      expect(await rulesInForce(changed)).toBe(await asAnew(wish));
    }
    expect((await changed('nft', ['list', 'table', 'inet', 'other'])).stdout).toBe(foreign);
  });

  it('in the midst of writing: what nft did not hear to the end is not done', async () => {
    const whole = renderFirewall(small, context);
    const cut = whole.indexOf('table bridge novact {');
    const dying: Run = (command, args, options) => changed(command, args, { ...options, input: String(options?.input).slice(0, cut) });
    const tables = opened(dying);
    await opened().ensure(edited);
    await expect(tables.ensure(small)).rejects.toThrow('not all there');
    expect(await rulesInForce(changed)).toBe(await asAnew(edited));
  });
});
