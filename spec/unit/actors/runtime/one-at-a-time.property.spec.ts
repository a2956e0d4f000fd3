// The rule that nact 7.6.2 breaks: never two messages at once in one actor, under random faults, decisions, stops,
// restarts and re-spawns of a whole tree. And nothing hangs: after every run the system stops in time.
import { array, assert, asyncProperty, boolean, constant, constantFrom, integer, oneof, record, type Arbitrary } from 'fast-check';
import { expect, it } from 'vitest';
import type { ActorContext, ActorDefinition, ActorSystem, Decision, Ref } from '../../../../src/actors/runtime/actor.ts';
import { createRig } from './rig.ts';

type Order =
  | { readonly does: 'work'; readonly turns: number }
  | { readonly does: 'throw'; readonly turns: number; readonly decision: Decision }
  | { readonly does: 'stopSelf' | 'stopChild' | 'respawnChild' };

interface Step {
  readonly actor: number;
  readonly order: Order;
  readonly pause: boolean;
}

const turns = integer({ min: 0, max: 3 });
const orders: Arbitrary<Order> = oneof(
  { weight: 3, arbitrary: record({ does: constant('work' as const), turns }) },
  { weight: 3, arbitrary: record({ does: constant('throw' as const), turns, decision: constantFrom<Decision>('resume', 'restart', 'stop', 'escalate') }) },
  { weight: 2, arbitrary: record({ does: constantFrom('stopSelf' as const, 'stopChild' as const, 'respawnChild' as const) }) },
);
const steps: Arbitrary<Step[]> = array(record({ actor: integer({ min: 0, max: 6 }), order: orders, pause: boolean() }), { minLength: 10, maxLength: 60 });
const verdicts = array(constantFrom('restart' as const, 'stop' as const, 'escalate' as const), { minLength: 1, maxLength: 5 });

const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });

class Fault extends Error {
  readonly decision: Decision;

  constructor(decision: Decision) {
    super(decision);
    this.decision = decision;
  }
}

/** What is seen from outside of each name, over all its incarnations: a second one must not begin before the first has ended. */
class Watcher {
  readonly inHand = new Map<string, number>();
  readonly open = new Map<string, number>();
  most = 0;
  unbalanced = 0;
  readonly refs = new Map<number, Ref<Order>>();

  async within(path: string, turnsLeft: number): Promise<void> {
    const now = (this.inHand.get(path) ?? 0) + 1;
    this.inHand.set(path, now);
    this.most = Math.max(this.most, now);
    for (let left = turnsLeft; left > 0; left -= 1) await turn();
    this.inHand.set(path, (this.inHand.get(path) ?? 0) - 1);
  }

  count(path: string, by: number): void {
    const open = (this.open.get(path) ?? 0) + by;
    this.open.set(path, open);
    if (open < 0 || open > 1) this.unbalanced += 1;
  }
}

function node(watcher: Watcher, nextVerdict: () => 'restart' | 'stop' | 'escalate', index: number): ActorDefinition<number, Order> {
  const spawnChildren = (context: ActorContext<Order>): void => {
    for (const child of index < 3 ? [2 * index + 1, 2 * index + 2] : []) {
      watcher.refs.set(child, context.ensure(node(watcher, nextVerdict, child), `n${child}`, undefined));
    }
  };
  return {
    kind: 'node',
    init: async (context) => {
      await watcher.within(context.self.path, 1);
      spawnChildren(context); // throws when the actor was stopped meanwhile: then there is no state, and no onStop
      watcher.count(context.self.path, 1);
      return 0;
    },
    handle: async (state, order, context) => {
      await watcher.within(context.self.path, 'turns' in order ? order.turns : 0);
      const child = context.child(`n${2 * index + 1}`);
      if (order.does === 'throw') throw new Fault(order.decision);
      if (order.does === 'stopSelf') await context.stop(context.self);
      if (order.does === 'stopChild' && child !== undefined) await context.stop(child);
      if (order.does === 'respawnChild' && child !== undefined && !context.signal.aborted) {
        void context.stop(child);
        spawnChildren(context);
      }
      return state + 1;
    },
    onError: (error) => (error instanceof Fault ? error.decision : 'restart'),
    onChildFailed: nextVerdict,
    onStop: async (_state, context) => {
      await watcher.within(context.self.path, 1);
      watcher.count(context.self.path, -1);
    },
    restart: { firstDelayMs: 0, delayMsMax: 1, restartsMax: 3 },
  };
}

async function play(system: ActorSystem, watcher: Watcher, script: readonly Step[], verdictList: readonly ('restart' | 'stop' | 'escalate')[]): Promise<void> {
  let asked = 0;
  const nextVerdict = (): 'restart' | 'stop' | 'escalate' => {
    asked += 1;
    return verdictList[asked % verdictList.length] ?? 'escalate';
  };
  let tops = 0;
  for (const { actor, order, pause } of script) {
    if (system.tree().every(({ path, state }) => path !== '/n0' || state === 'stopping')) {
      tops += 1;
      watcher.refs.set(0, system.spawn(node(watcher, nextVerdict, 0), 'n0', undefined));
    }
    const ref = watcher.refs.get(actor);
    if (ref !== undefined) system.tell(ref, order);
    if (pause) for (let n = 0; n < 3; n += 1) await turn();
  }
  expect(tops).toBeGreaterThan(0);
}

it('an actor never has two messages in hand, nor a name two lives, whatever happens', async () => {
  let handled = 0;
  let failed = 0;
  await assert(asyncProperty(steps, verdicts, async (script, verdictList) => {
    const { system, logged } = createRig();
    const watcher = new Watcher();
    await play(system, watcher, script, verdictList);
    for (let n = 0; n < 20; n += 1) await turn();
    for (const info of system.tree()) {
      handled += info.handled;
      failed += info.failed;
    }
    await system.stop(2000);
    expect(watcher.most).toBeLessThanOrEqual(1);
    expect(watcher.unbalanced).toBe(0);
    expect([...watcher.open.values()].every((open) => open === 0)).toBe(true);
    expect(system.tree()).toEqual([]);
    expect(logged.filter((line) => line.includes('given up'))).toEqual([]);
  }), { numRuns: 150 });
  expect(handled).toBeGreaterThan(100);
  expect(failed).toBeGreaterThan(20);
}, 60_000);
