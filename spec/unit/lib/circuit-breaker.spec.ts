import { describe, expect, test } from 'vitest';
import { createCircuitBreaker } from '../../../src/lib/circuit-breaker.ts';
import { createManualClock } from '../../support/manual-clock.ts';

class Down extends Error {}

function setUp() {
  const clock = createManualClock();
  const breaker = createCircuitBreaker({ clock, failuresMax: 3, restMs: 1_000, isOutage: (error) => error instanceof Down, refusal: () => new Error('open') });
  let asked = 0;
  const ask = (answer: 'up' | 'down' | 'wrong'): Promise<string> => breaker.run(async () => {
    asked += 1;
    if (answer === 'down') throw new Down();
    if (answer === 'wrong') throw new Error('wrong');
    return answer;
  });
  return { clock, breaker, ask, asked: () => asked };
}

const fail = async (ask: (answer: 'down') => Promise<string>, times: number): Promise<void> => {
  for (let time = 0; time < times; time += 1) await expect(ask('down')).rejects.toBeInstanceOf(Down);
};

describe('a circuit breaker', () => {
  test('lets nobody through after failures in a row, and asks nobody for it', async () => {
    const { ask, asked } = setUp();
    await fail(ask, 3);
    await expect(ask('up')).rejects.toThrow('open');
    expect(asked()).toBe(3);
  });

  test('counts only failures in a row, and an answer that is an error is an answer', async () => {
    const { ask } = setUp();
    await fail(ask, 2);
    await expect(ask('wrong')).rejects.toThrow('wrong');
    await fail(ask, 2);
    expect(await ask('up')).toBe('up');
    await fail(ask, 2);
    expect(await ask('up')).toBe('up');
  });

  test('lets one try after the rest: it closes when that is answered, and rests again when not', async () => {
    const { ask, clock } = setUp();
    await fail(ask, 3);
    await clock.advance(1_000);
    await fail(ask, 1);
    await expect(ask('up')).rejects.toThrow('open');
    await clock.advance(1_000);
    expect(await ask('up')).toBe('up');
    expect(await ask('up')).toBe('up');
  });

  test('lets nobody else try while one does', async () => {
    const { breaker, ask, clock } = setUp();
    await fail(ask, 3);
    await clock.advance(1_000);
    let answer: (text: string) => void = () => undefined;
    const trying = breaker.run(() => new Promise<string>((resolve) => { answer = resolve; }));
    await expect(ask('up')).rejects.toThrow('open');
    answer('up');
    expect(await trying).toBe('up');
    expect(await ask('up')).toBe('up');
  });
});
