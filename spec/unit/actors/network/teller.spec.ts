// Who is told, and how often.
import { expect, it } from 'vitest';
import { createTeller } from '../../../../src/actors/network/teller.ts';
import { createManualClock } from '../../../support/manual-clock.ts';

it('the first is told at once, what follows in the window together, and what comes after a quiet one at once again', async () => {
  const clock = createManualClock();
  const told: string[] = [];
  const tell = createTeller({ clock, windowMs: 300, tell: (host, groupIds) => told.push(`${host}: ${groupIds.join(' ')}`) });
  tell(['one'], ['sg-1']);
  expect(told).toEqual(['one: sg-1']);
  for (let n = 0; n < 100; n += 1) tell(['one', 'two'], ['sg-1', `sg-${n % 2}`]);
  await clock.advance(299);
  expect(told).toHaveLength(1);
  await clock.advance(1);
  expect(told.slice(1)).toEqual(['one: sg-1 sg-0', 'two: sg-1 sg-0']);
  await clock.advance(300);
  tell(['two'], ['sg-3']);
  expect(told.at(-1)).toBe('two: sg-3');
  await clock.advance(1_000);
  expect(told).toHaveLength(4);
  expect(clock.timers).toBe(0);
});
