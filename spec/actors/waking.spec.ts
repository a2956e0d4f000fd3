// A host that was silent for a moment only, so that nothing was taken from it: it looks at once at what it may have missed.
import { afterEach, describe, expect, it } from 'vitest';
import { watchWaking } from '../../src/actors/operations/watch-waking.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { createManualClock } from '../support/manual-clock.ts';
import { waitUntil } from '../support/patience.ts';
import { createSimCloud, stateOf, type SimCloud } from '../support/sim-cloud.ts';

let cloud: SimCloud | undefined;
afterEach(async () => {
  await cloud?.close();
  cloud = undefined;
});

const patience = { timeoutMs: 40_000, pollMs: 10 };

describe('the watch', () => {
  it('tells of a process that stood still, and of one that is counted among the living again', async () => {
    const own = createManualClock();
    let skippedMs = 0;
    let isHeld = true;
    let woken = 0;
    const system = createActorSystem({ name: 'waking', clock: own, log, onFatal: (error) => { throw error; } });
    watchWaking(system, 'waking', { clock: { ...own, now: () => own.now() + skippedMs }, isHeld: () => isHeld, onWoken: () => void (woken += 1) });
    await own.advance(10_000);
    expect(woken).toBe(0);
    skippedMs = 20_000;
    await own.advance(3_000);
    expect(woken).toBe(1);
    isHeld = false;
    await own.advance(3_000);
    expect(woken).toBe(1);
    isHeld = true;
    await own.advance(3_000);
    expect(woken).toBe(2);
    const stopped = system.stop(1_000);
    await own.advance(1_000);
    await stopped;
  });
});

it('a host that wakes soon enough to lose nothing looks at its guests and its rules at once, not at its next round', async () => {
  const made = await createSimCloud({ hosts: ['h1'], serviceDownMs: 4_000, limits: { reconcileIntervalMs: 600_000, sweepIntervalMs: 600_000 } });
  cloud = made;
  const [host] = made.hosts;
  if (host === undefined) throw new Error('the cloud has no host');
  const { world, network, directory, compute, knowsItIsHeard } = host;
  const reaches = (id: string, state: string) => waitUntil(`${id} ${state}`, patience, async () => (await stateOf(made, id))?.state === state);
  const [ended = '', id = ''] = await made.launch(2);
  for (const one of [ended, id]) await reaches(one, 'running');
  const left = world.domains.get(ended);
  await made.wish(ended, 'instance.terminate', 'shutting-down');
  await reaches(ended, 'terminated');
  await waitUntil('nothing of it to be left', patience, async () => !world.domains.has(ended) && network.host.firewall?.ports.length === 1);
  directory.setPaused(true);
  await waitUntil('the lease to be lost', patience, async () => !knowsItIsHeard());
  // What it did not hear of: a guest that somebody started anew, and rules that are gone.
  if (left !== undefined) world.domains.set(ended, left);
  await network.applyFirewall({ networks: network.host.firewall?.networks ?? [], ports: [], metadataPort: 1 });
  directory.setPaused(false);
  await waitUntil('the rules to be back', patience, async () => network.host.firewall?.ports[0]?.instanceId === id);
  await waitUntil('the stranger to be gone', patience, async () => !world.domains.has(ended));
  expect(compute.limits.reconcileIntervalMs).toBeGreaterThan(2 * patience.timeoutMs);
}, 90_000);
