// The image cache of a host: one actor per image, so that however many launches ask, it is fetched once. What instances stand on is
// never evicted; of the rest, the longest unused goes first when the cache is over its bound.
import { imagesInUse, imagesOf } from '../../db/instance-work.ts';
import { messageOf } from '../../lib/errors.ts';
import type { ActorDefinition, ReplyTo } from '../runtime/actor.ts';
import { cachedImage, type ComputeHost } from './host.ts';

export interface FetchMessage {
  readonly type: 'fetch';
  readonly replyTo: ReplyTo<string>;
}

const idleMs = 60_000;

export const imageActor: ActorDefinition<{ host: ComputeHost; imageId: string }, FetchMessage, { host: ComputeHost; imageId: string }> = {
  kind: 'image',
  idleMs,
  mailboxMax: 10_000,
  init: (_context, args) => args,
  async handle({ host, imageId }, message, context) {
    try {
      message.replyTo.answer(await ensureCached(host, imageId, context.signal));
    } catch (error) {
      message.replyTo.fail(error);
    }
  },
  onError: () => 'resume',
};

async function ensureCached(host: ComputeHost, imageId: string, signal: AbortSignal): Promise<string> {
  const path = cachedImage(host, imageId);
  if (await host.files.exists(path)) {
    await host.files.touch(path);
    return path;
  }
  const [image] = await imagesOf(host.db, [imageId]);
  if (image === undefined || image.sha256 === null || image.sizeBytes === null) throw new Error(`the image ${imageId} is not available`);
  await host.files.ensureDirectory(host.paths.images);
  const startedAt = host.clock.now();
  await host.imageSource.fetch({ id: imageId, sizeBytes: image.sizeBytes, sha256: image.sha256 }, path, signal);
  host.log.info({ image: imageId, bytes: image.sizeBytes, ms: host.clock.now() - startedAt }, 'image fetched');
  return path;
}

/** Brings the cache under its bound. What a launch of this moment has just fetched is protected by its instance's row. */
export async function evictImages(host: ComputeHost): Promise<readonly string[]> {
  const entries = (await host.files.list(host.paths.images)).toSorted((a, b) => a.usedAt.getTime() - b.usedAt.getTime());
  let total = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  if (total <= host.limits.imageCacheBytesMax) return [];
  const inUse = await imagesInUse(host.db, host.name);
  const evicted: string[] = [];
  for (const entry of entries) {
    if (total <= host.limits.imageCacheBytesMax) break;
    if (inUse.has(entry.name)) continue;
    try {
      await host.files.removeTree(cachedImage(host, entry.name));
    } catch (error) {
      host.log.warn({ image: entry.name, error: messageOf(error) }, 'image not evicted');
      continue;
    }
    total -= entry.sizeBytes;
    evicted.push(entry.name);
  }
  if (evicted.length > 0) host.log.info({ evicted }, 'image cache brought under its bound');
  return evicted;
}
