// What the API is told of a bundle before there is an image of it: its kind decides the image's id, and what is no manifest is refused at once.
import type { BodyOf, ReplyOf } from '../../messages/protocol.ts';
import type { objectstoreProtocol } from '../../messages/objectstore.ts';
import { BundleError } from './bundles/manifest.ts';
import type { ImageContext } from './register-image.ts';
import { loadManifest } from './unbundle-image.ts';

type Entry = (typeof objectstoreProtocol)['table']['describeBundle'];

export async function describeBundle(deps: Pick<ImageContext, 'db' | 'store'>, at: BodyOf<Entry>): Promise<ReplyOf<Entry>> {
  try {
    const { manifest: { type, architecture, kernelId = null, ramdiskId = null } } = await loadManifest(deps, at);
    return { refused: null, bundle: { type, architecture, kernelId, ramdiskId } };
  } catch (error) {
    if (error instanceof BundleError) return { refused: error.message, bundle: null };
    throw error;
  }
}
