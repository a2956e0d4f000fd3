// What a request is about is looked up while its signature is checked, so that the look at its key and that at its object are one. Nothing of it is told
// to whom the signature does not let in.
import type { BucketAndObject } from '../../db/find-in-bucket.ts';
import type { Bucket } from '../../db/buckets.ts';
import type { S3Call, S3Services } from './call.ts';
import type { Route } from './routes.ts';

type Looks = Pick<S3Services, 'findInBucket' | 'findBucket'>;

const ofObject: ReadonlySet<string> = new Set(['GetObject', 'HeadObject']);
const ofBucket: ReadonlySet<string> = new Set(['PutObject', 'UploadPart']);

/** The same looks, the first of which is on its way where it is known what it will be about. */
export function lookEarly(looks: Looks, asked: Pick<S3Call, 'bucket' | 'key' | 'query'> | undefined, route: Route | undefined): Looks {
  if (asked === undefined || route === undefined) return looks;
  if (ofObject.has(route.name) && !asked.query.has('versionId')) return withObject(looks, asked);
  return ofBucket.has(route.name) ? withBucket(looks, asked.bucket) : looks;
}

function withObject(looks: Looks, { bucket, key }: Pick<S3Call, 'bucket' | 'key'>): Looks {
  let early: Promise<BucketAndObject | undefined> | undefined = watched(looks.findInBucket({ bucket, key }));
  return {
    findBucket: looks.findBucket,
    findInBucket(at, versionId) {
      const isIt = early !== undefined && versionId === undefined && at.bucket === bucket && at.key === key;
      const found = isIt && early !== undefined ? early : looks.findInBucket(at, versionId);
      if (isIt) early = undefined; // whoever asks again wants to know it anew
      return found;
    },
  };
}

function withBucket(looks: Looks, bucket: string): Looks {
  let early: Promise<Bucket | undefined> | undefined = watched(looks.findBucket(bucket));
  return {
    findInBucket: looks.findInBucket,
    findBucket(name) {
      const found = name === bucket && early !== undefined ? early : looks.findBucket(name);
      if (name === bucket) early = undefined;
      return found;
    },
  };
}

/** It may be that nobody waits for it. */
function watched<T>(look: Promise<T>): Promise<T> {
  look.catch(() => undefined);
  return look;
}
