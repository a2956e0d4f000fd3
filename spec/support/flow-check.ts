// The generic proof of a flow: each step made to fail, killed at, and repeated; then the worlds are compared.
import { expect, it } from 'vitest';
import { FlowInterrupted, runFlow, type Flow, type FlowJournal, type FlowProgress, type FlowRecord, type Step } from '../../src/lib/flow.ts';

export interface World<Context> {
  readonly context: Context;
  /** Everything that the flow may change, in a form that can be compared. */
  snapshot(): Promise<unknown>;
  close(): Promise<void>;
}

/** A journal in memory that survives the "death" of a run. */
export function memoryJournal(): FlowJournal & { state: 'running' | 'undoing'; records: readonly FlowRecord[]; error: string | undefined } {
  const journal = {
    state: 'running' as 'running' | 'undoing',
    records: [] as readonly FlowRecord[],
    error: undefined as string | undefined,
    async save({ state, records, error }: FlowProgress) {
      // As JSON, as the database keeps it: an output that does not survive that is a fault of the step.
      journal.records = JSON.parse(JSON.stringify(records)) as readonly FlowRecord[];
      if (state !== 'done') journal.state = state;
      journal.error = error;
      return undefined;
    },
  };
  return journal;
}

type Trouble = 'before' | 'after';

function withStep<C>(flow: Flow<C>, name: string, change: (step: Step<C>) => Step<C>): Flow<C> {
  return { ...flow, steps: flow.steps.map((step) => (step.name === name ? change(step) : step)) };
}

/** The step fails, before its effect or after it. */
const failing = <C>(step: Step<C>, when: Trouble): Step<C> => ({
  ...step,
  async do(context, outputs) {
    if (when === 'after') await step.do(context, outputs);
    throw new Error(`made to fail ${when} ${step.name}`);
  },
});

/** The process dies, before the effect or after it, with nothing recorded. */
const killed = <C>(step: Step<C>, when: Trouble): Step<C> => ({
  ...step,
  async do(context, outputs) {
    if (when === 'after') await step.do(context, outputs);
    throw new FlowInterrupted(`killed ${when} ${step.name}`);
  },
});

const killedInUndo = <C>(step: Step<C>, when: Trouble): Step<C> => ({
  ...step,
  async undo(context, outputs) {
    if (when === 'after') await step.undo?.(context, outputs);
    throw new FlowInterrupted(`killed in undoing ${step.name}`);
  },
});

const doubled = <C>(step: Step<C>): Step<C> => ({
  ...step,
  async do(context, outputs) {
    await step.do(context, outputs);
    return step.do(context, outputs);
  },
  async undo(context, outputs) {
    await step.undo?.(context, outputs);
    await step.undo?.(context, outputs);
  },
});

async function inWorld<C, R>(setUp: () => Promise<World<C>>, work: (world: World<C>) => Promise<R>): Promise<R> {
  const world = await setUp();
  try {
    return await work(world);
  } finally {
    await world.close();
  }
}

/** `undoable: false` for flows that only go forward (terminate): their failures leave what was done. */
export function checkFlow<C>(flow: Flow<C>, setUp: () => Promise<World<C>>, options: { undoable: boolean } = { undoable: true }): void {
  const success = (): Promise<unknown> => inWorld(setUp, async (world) => {
    expect(await runFlow(flow, world.context, memoryJournal())).toMatchObject({ done: true });
    return world.snapshot();
  });

  for (const { name } of flow.steps) {
    for (const when of ['before', 'after'] as const) {
      if (options.undoable) {
        it(`leaves nothing when ${name} fails ${when} its effect`, () => inWorld(setUp, async (world) => {
          const initial = await world.snapshot();
          const result = await runFlow(withStep(flow, name, (step) => failing(step, when)), world.context, memoryJournal());
          expect(result).toMatchObject({ done: false, error: `made to fail ${when} ${name}` });
          expect(await world.snapshot()).toEqual(initial);
        }));
      }
      it(`goes on after a kill ${when} the effect of ${name}`, async () => {
        const wanted = await success();
        await inWorld(setUp, async (world) => {
          const journal = memoryJournal();
          await expect(runFlow(withStep(flow, name, (step) => killed(step, when)), world.context, journal)).rejects.toThrow('killed');
          expect(await runFlow(flow, world.context, journal)).toMatchObject({ done: true });
          expect(await world.snapshot()).toEqual(wanted);
        });
      });
    }
    it(`changes nothing more when ${name} is repeated`, async () => {
      const wanted = await success();
      await inWorld(setUp, async (world) => {
        expect(await runFlow(withStep(flow, name, doubled), world.context, memoryJournal())).toMatchObject({ done: true });
        expect(await world.snapshot()).toEqual(wanted);
      });
    });
  }
  if (options.undoable) checkUndo(flow, setUp);
}

function checkUndo<C>(flow: Flow<C>, setUp: () => Promise<World<C>>): void {
  const last = flow.steps.at(-1)?.name ?? '';
  for (const { name } of flow.steps) {
    for (const when of ['before', 'after'] as const) {
      it(`leaves nothing after a kill ${when} ${name} was undone, and when undoing is repeated`, () => inWorld(setUp, async (world) => {
        const initial = await world.snapshot();
        const failed = withStep(flow, last, (step) => failing(step, 'before'));
        const journal = memoryJournal();
        await expect(runFlow(withStep(failed, name, (step) => killedInUndo(step, when)), world.context, journal)).rejects.toThrow('killed');
        expect(await runFlow(withStep(flow, name, doubled), world.context, journal)).toMatchObject({ done: false });
        expect(await world.snapshot()).toEqual(initial);
      }));
    }
  }
}
