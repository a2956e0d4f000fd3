// One call of one client, and what an operation returns. Operations never see Koa or node's response: one place writes answers.
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { Authority } from '../../auth/authenticate.ts';
import type { Principal } from '../../auth/principal.ts';
import type { Db } from '../../db/db.ts';
import type { FindBucket, FindInBucket } from '../../db/find-in-bucket.ts';
import type { ImageBlob } from '../../db/blobs.ts';
import type { Quotas } from '../../db/quotas.ts';
import type { ObjectStoreDriver, Pieces } from '../../drivers/objectstore/driver.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Content } from './content.ts';
import { fail } from './errors.ts';

export interface S3Services {
  readonly db: Db;
  /** As it is at this moment; what is asked for at once is looked up together. */
  readonly findInBucket: FindInBucket;
  readonly findBucket: FindBucket;
  readonly store: ObjectStoreDriver;
  readonly clock: Clock;
  readonly log: Log;
  readonly region: string;
  /** Of projects that were given no limits of their own. */
  readonly quotas: Pick<Quotas, 'buckets' | 'bytes'>;
  /** The content of an available image, for compute hosts. */
  readonly findImage: (imageId: string) => Promise<ImageBlob | undefined>;
  /** Gives a pending image the content that a compute host has brought; `unwanted`: none waits for it, and the blob is the caller's to remove. */
  readonly receiveImage: (imageId: string, content: ImageBlob) => Promise<'received' | 'unwanted'>;
  /** Who knows the keys with which forms are signed; undefined: none are taken. */
  readonly authority: Authority | undefined;
  /** The hosts that run the objectstore in a release before that one, in words; undefined: none. What came with a release waits for the last of them. */
  readonly olderHosts: (release: string) => Promise<string | undefined>;
}

export interface S3Call extends S3Services {
  readonly requestId: string;
  readonly method: string;
  /** Undefined: anonymous. */
  readonly principal: Principal | undefined;
  /** Empty for the service. */
  readonly bucket: string;
  /** Empty for the bucket. */
  readonly key: string;
  readonly query: ReadonlyMap<string, string>;
  readonly headers: IncomingHttpHeaders;
  /** From where. */
  readonly remoteAddress: string;
  /** Over TLS. */
  readonly isSecure: boolean;
  readonly content: Content;
  /** Told who asks, and for what, where only the body says so: for the audit log. */
  readonly foundOut: (more: { readonly principal?: Principal | undefined; readonly key: string }) => void;
}

/** Each by its name: spread into one object they would be a table of its own for every request, and the most of what there is to collect. */
export function callOf(services: S3Services, looks: Pick<S3Services, 'findInBucket' | 'findBucket'>, asked: Omit<S3Call, keyof S3Services>): S3Call {
  const { findInBucket, findBucket } = looks;
  const { db, store, clock, log, region, quotas, findImage, receiveImage, authority, olderHosts } = services;
  const { requestId, method, principal, bucket, key, query, headers, remoteAddress, isSecure, content, foundOut } = asked;
  return {
    db, findInBucket, findBucket, store, clock, log, region, quotas, findImage, receiveImage, authority, olderHosts,
    requestId, method, principal, bucket, key, query, headers, remoteAddress, isSecure, content, foundOut,
  };
}

/** What of a request decides over whether it may. */
export type Requester = Pick<S3Call, 'principal' | 'headers' | 'query' | 'clock' | 'remoteAddress' | 'isSecure'>;

export interface S3Result {
  /** Default 200. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** An XML document, or the bytes of an object; neither: no body. Pieces need `lengthBytes`. */
  readonly body?: string | Buffer | Readable | Pieces;
  /** Of a stream, or of what HEAD does not send. */
  readonly lengthBytes?: number;
}

/** Throws `ApiError` for what is the client's to know. */
export type Operation = (call: S3Call) => Promise<S3Result>;

/** A header that has one meaning, as text. */
export function header(call: Pick<S3Call, 'headers'>, name: string): string | undefined {
  const value = call.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** For what an older release would take for something else: refused while one is at work. */
export async function requireRelease(call: S3Call, release: string): Promise<void> {
  const older = await call.olderHosts(release);
  if (older !== undefined) {
    const wanted = `it needs release ${release} of the objectstore on all hosts`;
    fail('ServiceUnavailable', `This cloud is being upgraded: ${wanted}, and an older one is still on ${older}.`);
  }
}

/** S3's time in XML. */
export const xmlTime = (date: Date): string => date.toISOString();
