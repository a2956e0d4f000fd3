// Bundles of images, as RegisterImage meets them: what their manifest says is taken where the request says nothing.
import { objectstoreProtocol } from '../../messages/objectstore.ts';
import { messageOf } from '../../lib/errors.ts';
import { fail, type Call } from './action.ts';

export interface ObjectPlace {
  readonly bucket: string;
  readonly key: string;
}

/** What images are registered with, by the request or by the manifest. */
export interface BundledProperties {
  readonly Architecture?: string | undefined;
  readonly KernelId?: string | undefined;
  readonly RamdiskId?: string | undefined;
}

const manifestMs = 20_000;

/** The name that every bundler gives it. */
export const isManifest = (key: string): boolean => key.endsWith('.manifest.xml');

/** The request, filled up from the manifest. The caller may read the object. */
export async function bundleAt<Given extends BundledProperties>(call: Call, at: ObjectPlace, given: Given): Promise<Given & BundledProperties> {
  const { refused, bundle } = await askObjectstore(call, at);
  if (bundle === null) return fail('InvalidManifest', `The manifest '${`${at.bucket}/${at.key}`.slice(0, 255)}' cannot be used: ${refused ?? 'unknown'}.`);
  const own = (text: string | undefined): string | undefined => (text === '' ? undefined : text);
  return {
    ...given,
    Architecture: own(given.Architecture) ?? bundle.architecture,
    KernelId: bundle.type === 'kernel' ? 'true' : own(given.KernelId) ?? bundle.kernelId ?? undefined,
    RamdiskId: bundle.type === 'ramdisk' ? 'true' : own(given.RamdiskId) ?? bundle.ramdiskId ?? undefined,
  };
}

async function askObjectstore(call: Call, at: ObjectPlace) {
  try {
    return await call.transport.ask({ role: 'objectstore' }, objectstoreProtocol, 'describeBundle', { ...at }, {
      timeoutMs: manifestMs, requestId: call.requestId,
    });
  } catch (error) {
    call.log.warn({ requestId: call.requestId, ...at, error: messageOf(error) }, 'the manifest could not be read');
    return fail('Unavailable', 'The objectstore does not answer. Please try again.');
  }
}
