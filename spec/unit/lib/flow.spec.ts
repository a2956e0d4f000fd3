import { describe, expect, it } from 'vitest';
import { FlowInterrupted, runFlow, type Flow, type FlowProgress } from '../../../src/lib/flow.ts';
import { checkFlow, memoryJournal } from '../../support/flow-check.ts';

interface Things {
  readonly made: Set<string>;
}

const ensure = (name: string) => ({
  name,
  do: async ({ made }: Things) => {
    made.add(name);
    return { name };
  },
  undo: async ({ made }: Things) => void made.delete(name),
});

const flow: Flow<Things> = { name: 'three', steps: [ensure('one'), ensure('two'), ensure('three')] };

describe('a flow of three steps', () => {
  checkFlow(flow, async () => {
    const context = { made: new Set<string>() };
    return { context, snapshot: async () => [...context.made].toSorted(), close: async () => undefined };
  });

  it('gives later steps the outputs of earlier ones, also after a restart', async () => {
    const seen: unknown[] = [];
    const journal = memoryJournal();
    await journal.save({ state: 'running', records: [{ name: 'one', state: 'done', output: { name: 'from before' } }], error: undefined });
    const asking: Flow<Things> = { name: 'asking', steps: [ensure('one'), { name: 'two', do: async (_context, outputs) => void seen.push(outputs['one']) }] };
    await runFlow(asking, { made: new Set<string>() }, journal);
    expect(seen).toEqual([{ name: 'from before' }]);
  });

  it('gives up between steps with the reason, and undoes', async () => {
    const context = { made: new Set<string>() };
    let asked = 0;
    const result = await runFlow(flow, context, memoryJournal(), { giveUp: () => ((asked += 1) > 2 ? 'no longer wished' : undefined) });
    expect(result).toEqual({ done: false, error: 'no longer wished' });
    expect([...context.made]).toEqual([]);
  });

  it('keeps what is done when it is interrupted between two steps', async () => {
    const [journal, stopping] = [memoryJournal(), new AbortController()];
    const last = { name: 'four', do: async () => stopping.abort() };
    const stopped: Flow<Things> = { name: 'stopped', steps: [ensure('one'), last, ensure('three')] };
    await expect(runFlow(stopped, { made: new Set<string>() }, journal, { signal: stopping.signal })).rejects.toThrow('stopping');
    expect(journal.records.map(({ name, state }) => `${name} ${state}`)).toEqual(['one done', 'four done']);
  });

  it('waits, and undoes nothing, for what time will mend', async () => {
    const [context, journal] = [{ made: new Set<string>() }, memoryJournal()];
    let isAway = true;
    const waiting: Flow<Things> = { name: 'waiting', steps: [ensure('one'), { name: 'two', do: async () => {
      if (isAway) throw new Error('away');
    } }, ensure('three')] };
    const mustWait = (error: unknown) => error instanceof Error && error.message === 'away';
    await expect(runFlow(waiting, context, journal, { mustWait })).rejects.toThrow(FlowInterrupted);
    expect([...context.made]).toEqual(['one']);
    isAway = false;
    expect(await runFlow(waiting, context, journal, { mustWait })).toMatchObject({ done: true });
    expect([...context.made]).toEqual(['one', 'three']);
  });

  it('writes its journal once a step, and once more at the end', async () => {
    const journal = memoryJournal();
    const saved: string[] = [];
    const counting = { ...journal, save: async ({ state, records }: FlowProgress) => {
      saved.push([...records.map((record) => `${record.name} ${record.state}`), state].join(', '));
      return undefined;
    } };
    await runFlow(flow, { made: new Set<string>() }, counting);
    expect(saved).toEqual([
      'one doing, running', 'one done, two doing, running', 'one done, two done, three doing, running', 'one done, two done, three done, done',
    ]);
  });

  it('does not repeat what the journal says already', async () => {
    const saved: string[] = [];
    const journal = { ...memoryJournal(), records: [{ name: 'one', state: 'doing' as const }], save: async ({ records }: FlowProgress) => {
      saved.push(records.map((record) => `${record.name} ${record.state}`).join(', '));
      return undefined;
    } };
    await runFlow(flow, { made: new Set<string>() }, journal);
    expect(saved[0]).toBe('one done, two doing');
  });

  it('gives up with the reason that the journal finds, and undoes', async () => {
    const context = { made: new Set<string>() };
    const memory = memoryJournal();
    const journal = { ...memory, save: async (progress: FlowProgress) => {
      await memory.save(progress);
      return progress.records.length > 2 ? 'ended meanwhile' : undefined;
    } };
    expect(await runFlow(flow, context, journal)).toEqual({ done: false, error: 'ended meanwhile' });
    expect([...context.made]).toEqual([]);
    expect(memory.records.map(({ state }) => state)).toEqual(['undone', 'undone', 'undone']);
  });

  it('does nothing more when its journal is lost', async () => {
    const context = { made: new Set<string>() };
    const journal = { ...memoryJournal(), save: async () => Promise.reject(new Error('held by another')) };
    await expect(runFlow(flow, context, journal)).rejects.toThrow('held by another');
    expect([...context.made]).toEqual([]);
  });
});
