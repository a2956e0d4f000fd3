// What every directory must do, as src/transport/directory.ts says it, over any factory that makes several processes of one cloud.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Directory, ServiceRecord } from '../../src/transport/directory.ts';
import { TransportError } from '../../src/transport/transport.ts';
import { eventually } from '../support/waiting.ts';

export interface DirectoryCloud {
  /** Of one process. Its leases are short: `leaseMs`, renewed often enough. Closing it without a goodbye is how it dies. */
  process(): Directory;
  readonly leaseMs: number;
  /** As FLUSHALL. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

export const service = (host: string, changes: Partial<ServiceRecord> = {}): ServiceRecord => ({
  role: 'compute', host, process: `${host}#1`, epoch: 1, version: '1.0', ...changes,
});

export function directorySuite(name: string, createCloud: () => Promise<DirectoryCloud>): void {
  describe(`directory: ${name}`, () => {
    let cloud: DirectoryCloud;
    let one: Directory;
    let other: Directory;
    const hostsSeenBy = async (directory: Directory): Promise<string[]> => (await directory.services('compute')).map(({ host }) => host);
    /** Until the hosts are these. A process that stood still may find its connection lost, and is told so until it has another. */
    const untilSeen = (directory: Directory, wanted: readonly string[]) => eventually(async () => {
      const seen = await hostsSeenBy(directory).catch((error: unknown) => {
        if (error instanceof TransportError && error.kind === 'timeout') return undefined;
        throw error;
      });
      return seen?.join() === wanted.join();
    }, `seen are ${wanted.join()}`);

    beforeEach(async () => {
      cloud = await createCloud();
      one = cloud.process();
      other = cloud.process();
    });
    afterEach(() => cloud.close());

    it('what is announced is seen by others at once, in the order of host and process', async () => {
      await one.announce(service('h2', { address: '10.0.0.2', hints: { freeMiB: 7 } }));
      await one.announce(service('h10'));
      await one.announce(service('h1', { role: 'network' }));
      expect(await other.services('compute')).toEqual([service('h10'), service('h2', { address: '10.0.0.2', hints: { freeMiB: 7 } })]);
      expect(await other.services('volume')).toEqual([]);
    });

    it('a lease is renewed for as long as its process lives', async () => {
      const announcement = await one.announce(service('h1'));
      const startedAt = performance.now();
      await eventually(async () => performance.now() - startedAt > cloud.leaseMs * 2.5);
      expect(announcement.held()).toBe(true);
      expect(await hostsSeenBy(other)).toEqual(['h1']);
    });

    it('who dies is gone from the services when its lease ends, and still among those last seen', async () => {
      const announcement = await one.announce(service('h1'));
      await other.announce(service('h2'));
      await one.close();
      expect(announcement.held()).toBe(false);
      await untilSeen(other, ['h2']);
      const seen = await other.lastSeen('compute');
      expect(seen.map(({ host }) => host)).toEqual(['h1', 'h2']);
      expect(seen[0]?.agoMs).toBeGreaterThanOrEqual(cloud.leaseMs * 0.9);
      expect(seen[1]?.agoMs).toBeLessThan(cloud.leaseMs);
    });

    it('who says goodbye is gone at once, also from those last seen', async () => {
      const announcement = await one.announce(service('h1'));
      await other.announce(service('h2'));
      await announcement.withdraw();
      await announcement.withdraw();
      expect(announcement.held()).toBe(false);
      expect(await hostsSeenBy(other)).toEqual(['h2']);
      expect((await other.lastSeen('compute')).map(({ host }) => host)).toEqual(['h2']);
    });

    it('a changed record is seen at once, and once', async () => {
      const announcement = await one.announce(service('h1'));
      expect(await hostsSeenBy(other)).toEqual(['h1']);
      await announcement.update({ hints: { freeMiB: 5 }, epoch: 4 });
      await eventually(async () => (await other.services('compute'))[0]?.hints?.['freeMiB'] === 5);
      expect(await other.services('compute')).toEqual([service('h1', { hints: { freeMiB: 5 }, epoch: 4 })]);
    });

    it('what was lost comes back with the next renewal', async () => {
      const announcement = await one.announce(service('h1'));
      expect(await hostsSeenBy(other)).toEqual(['h1']);
      await cloud.clear();
      await untilSeen(other, ['h1']);
      expect(await other.services('compute')).toEqual([service('h1')]);
      expect(announcement.held()).toBe(true);
    });

    it('a host that is forgotten is gone, and may come back', async () => {
      await one.announce(service('h1'));
      await one.close();
      await other.forget('compute', 'h1');
      await other.forget('compute', 'never');
      expect(await hostsSeenBy(other)).toEqual([]);
      expect(await other.lastSeen('compute')).toEqual([]);
      await other.announce(service('h1', { epoch: 2 }));
      expect(await hostsSeenBy(other)).toEqual(['h1']);
    });

    it('two processes of one role on one host are both listed while neither owns a mailbox', async () => {
      await one.announce(service('h1', { role: 'scheduler', epoch: 0 }));
      await other.announce(service('h1', { role: 'scheduler', epoch: 0, process: 'h1#2' }));
      expect((await one.services('scheduler')).map(({ process }) => process)).toEqual(['h1#1', 'h1#2']);
    });

    it('a later start of a host takes the place of the earlier, which holds its lease no more', async () => {
      const earlier = await one.announce(service('h1', { epoch: 3 }));
      await other.announce(service('h1', { epoch: 4, process: 'h1#2' }));
      expect((await other.services('compute')).map(({ epoch }) => epoch)).toEqual([4]);
      await eventually(async () => !earlier.held());
      expect((await other.services('compute')).map(({ epoch }) => epoch)).toEqual([4]);
      await earlier.withdraw();
      expect((await one.lastSeen('compute')).map(({ host }) => host)).toEqual(['h1']);
    });

    it('a directory that is closed refuses', async () => {
      await one.close();
      await one.close();
      await expect(one.services('compute')).rejects.toMatchObject({ name: 'TransportError', kind: 'closed' });
    });
  });
}
