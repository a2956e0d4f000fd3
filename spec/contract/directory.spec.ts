// The contract of the directory over the one that lives in a process; spec/services/directory.spec.ts has the one on Redis.
import { expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { createDirectoryBoard, createLocalDirectory } from '../../src/transport/local-directory.ts';
import { createManualClock } from '../support/manual-clock.ts';
import { directorySuite, service } from './directory-suite.ts';

directorySuite('local', async () => {
  const board = createDirectoryBoard({ clock: systemClock });
  const leaseMs = 600;
  return {
    leaseMs,
    process: () => createLocalDirectory({ clock: systemClock, board, leaseMs, renewMs: 50 }),
    clear: async () => board.clear(),
    close: async () => undefined,
  };
});

it('leases follow the clock that was handed in, a paused process loses its own, and the board may be away', async () => {
  const clock = createManualClock();
  const board = createDirectoryBoard({ clock });
  const host = createLocalDirectory({ clock, board });
  const reader = createLocalDirectory({ clock, board });
  const announcement = await host.announce(service('h1'));
  await clock.advance(100_000);
  expect(announcement.held()).toBe(true);
  host.setPaused(true);
  await clock.advance(16_000);
  expect(announcement.held()).toBe(false);
  expect(await reader.services('compute')).toEqual([]);
  expect((await reader.lastSeen('compute'))[0]?.agoMs).toBeGreaterThanOrEqual(16_000);
  host.setPaused(false);
  expect(await reader.services('compute')).toEqual([service('h1')]);
  board.setAway(true);
  await clock.advance(20_000);
  await expect(reader.services('compute')).rejects.toMatchObject({ kind: 'timeout' });
  expect(announcement.held()).toBe(false);
  board.setAway(false);
  await clock.advance(5_000);
  expect(announcement.held()).toBe(true);
});
