// Starts the objectstore of this process: the S3 server, and the actors that register images.
import { objectstoreActor } from '../actors/objectstore/actor.ts';
import { describeBundle } from '../actors/objectstore/describe-bundle.ts';
import { receiveImage } from '../actors/objectstore/receive-image.ts';
import { sweepImages } from '../actors/objectstore/sweep-images.ts';
import { sweepIntervalMs } from '../actors/operations/sweep-work.ts';
import { expireObjects } from '../actors/objectstore/expire-objects.ts';
import { sweepBlobs, sweepReleased } from '../actors/objectstore/sweep-blobs.ts';
import { olderHosts } from '../api/http/upgrading.ts';
import { createS3Server } from '../api/s3/server.ts';
import { authenticateS3 } from '../auth/authenticate.ts';
import { enrol, releaseHolds } from '../db/owners.ts';
import type { DiskDriver } from '../drivers/disk/driver.ts';
import { openFilesystemStore } from '../drivers/objectstore/filesystem.ts';
import type { ObjectStoreDriver } from '../drivers/objectstore/driver.ts';
import { objectstoreProtocol } from '../messages/objectstore.ts';
import { openBundlingKey } from './bundling-key.ts';
import { bucketDomains, openTls } from './endpoint-identity.ts';
import { announceShared, keep, type Foundation } from './foundation.ts';
import { startListener } from './listener.ts';

const sweepReleasedIntervalMs = 60_000;
/** What a rule lets expire, it counts in days. */
const expireIntervalMs = 600_000;
const sweepOrphansIntervalMs = 3_600_000;
const inspectMs = 60_000;
const bootFileBytesMax = 1024 ** 3;

export async function startObjectstore(foundation: Foundation, disk: DiskDriver): Promise<ObjectStoreDriver> {
  const { settings, paths, system, transport, db, clock, auth, audit, directory, sealer } = foundation;
  const log = foundation.log.child({ role: 'objectstore' });
  const store = await openFilesystemStore({ folder: paths.objects, sealer });
  if (settings.redisUrl === undefined) await releaseHolds(db, 'objectstore');
  const bundling = await openBundlingKey(foundation);
  const epoch = await enrol(db, 'objectstore', clock.date());
  const limits = { virtualSizeBytesMax: settings.imageSizeGiBMax * 2 ** 30, bootFileBytesMax, inspectMs };
  const ref = system.spawn(objectstoreActor, 'objectstore', {
    db, clock, log, system, store, disk, sweepIntervalMs: sweepIntervalMs.shared,
    owner: { name: 'objectstore', epoch },
    decrypt: bundling.decrypt,
    limits,
    sweepReleased: { intervalMs: sweepReleasedIntervalMs, run: async () => void (await sweepReleased({ db, store, clock, log })) },
    sweepImages: { intervalMs: sweepReleasedIntervalMs, run: () => sweepImages({ db, clock, log }) },
    expireObjects: { intervalMs: expireIntervalMs, run: async () => void (await expireObjects({ db, clock, log })) },
    sweepOrphans: { intervalMs: sweepOrphansIntervalMs, run: async () => void (await sweepBlobs({ db, store, clock, log })) },
  });
  await keep(foundation, transport.serve({ role: 'objectstore' }, objectstoreProtocol, {
    performOperation: ({ imageId }) => system.tell(ref, { type: 'work', imageId }),
    describeBundle: (at) => describeBundle({ db, store }, at),
  }));
  const server = createS3Server({
    db, store, clock, log, audit, region: settings.region, authenticate: (request) => authenticateS3(request, { auth, clock }),
    authority: auth, quotas: { buckets: settings.bucketsPerProjectMax, bytes: settings.bytesPerProjectMax }, domains: bucketDomains(settings),
    tls: await openTls(foundation), olderHosts: (release) => olderHosts(directory, 'objectstore', release),
    receiveImage: (imageId, content) => receiveImage({ db, clock, store, disk, limits }, imageId, content),
  });
  foundation.drain.add('server', (graceMs) => server.close({ graceMs }));
  await startListener(system, 's3', { server, host: settings.bind, port: settings.s3Port });
  await announceShared(foundation, 'objectstore');
  globalThis.gc?.(); // in a process of its own alone: what the start has left behind
  return store;
}
