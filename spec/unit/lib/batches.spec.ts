// Questions that are asked together: who asks meanwhile comes into the next batch, and nobody waits long for one that hangs.
import { describe, expect, it } from 'vitest';
import { Batches } from '../../../src/lib/batches.ts';
import { createManualClock } from '../../support/manual-clock.ts';

/** Batches that are answered when the spec says so; the answer to `x` is `X`, to what begins with `no` there is none. */
function batchesByHand() {
  const clock = createManualClock();
  const asked: { readonly questions: readonly string[]; readonly answer: () => void; readonly fail: (error: Error) => void }[] = [];
  const batches = new Batches<string, string>({
    clock, nameOf: (question) => question,
    ask: (questions) => new Promise((resolve, reject) => {
      const found = questions.filter((question) => !question.startsWith('no'));
      asked.push({ questions, answer: () => resolve(new Map(found.map((question) => [question, question.toUpperCase()]))), fail: reject });
    }),
  });
  return { clock, batches, asked, questions: () => asked.map((batch) => batch.questions) };
}

/** Until what is due has begun. */
const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(() => setImmediate(resolve)); });

describe('batches', () => {
  it('ask in one what is asked in one turn, equal questions once, and give each its own answer', async () => {
    const { batches, asked, questions } = batchesByHand();
    const answers = Promise.all(['a', 'b', 'a', 'none'].map((question) => batches.find(question)));
    await turn();
    expect(questions()).toEqual([['a', 'b', 'none']]);
    asked[0]?.answer();
    expect(await answers).toEqual(['A', 'B', 'A', undefined]);
  });

  it('never answer from a batch that began before the question', async () => {
    const { batches, asked, questions } = batchesByHand();
    const first = batches.find('a');
    await turn();
    const second = batches.find('a');
    await turn();
    expect(questions()).toEqual([['a']]);
    asked[0]?.answer();
    expect(await first).toBe('A');
    await turn();
    expect(questions()).toEqual([['a'], ['a']]);
    asked[1]?.answer();
    expect(await second).toBe('A');
  });

  it('fail for all who wait for the one that failed, and for nobody else', async () => {
    const { batches, asked } = batchesByHand();
    const failed = Promise.allSettled([batches.find('a'), batches.find('b')]);
    await turn();
    const next = batches.find('a');
    asked[0]?.fail(new Error('gone'));
    expect((await failed).map((outcome) => outcome.status === 'rejected' && String(outcome.reason))).toEqual(['Error: gone', 'Error: gone']);
    await turn();
    asked[1]?.answer();
    expect(await next).toBe('A');
  });

  it('begin another beside one that hangs, but only so many', async () => {
    const { clock, batches, asked, questions } = batchesByHand();
    const answers: Promise<string | undefined>[] = [];
    for (const question of ['a', 'b', 'c', 'd', 'e']) {
      answers.push(batches.find(question));
      await turn();
      await clock.advance(5);
      await turn();
    }
    expect(questions()).toEqual([['a'], ['b'], ['c'], ['d']]);
    asked[2]?.answer();
    await turn();
    await clock.advance(5);
    await turn();
    expect(questions()).toEqual([['a'], ['b'], ['c'], ['d'], ['e']]);
    for (const { answer } of asked) answer();
    expect(await Promise.all(answers)).toEqual(['A', 'B', 'C', 'D', 'E']);
  });

  it('are bounded: what is more goes into another', async () => {
    const { batches, asked, questions } = batchesByHand();
    const all = Array.from({ length: 150 }, (_, number) => `q${number}`);
    const answers = Promise.all(all.map((question) => batches.find(question)));
    for (let number = 0; number < 3; number += 1) {
      await turn();
      await turn();
      asked[number]?.answer();
    }
    expect(await answers).toEqual(all.map((question) => question.toUpperCase()));
    expect(questions().map(({ length }) => length)).toEqual([64, 64, 22]);
  });
});
