// Conditional requests and ranges, as RFC 9110 orders them and S3 answers them.
import type { IncomingHttpHeaders } from 'node:http';
import type { PutCondition } from '../../db/objects.ts';
import { fail } from './errors.ts';

export interface Validators {
  /** Without quotes. */
  readonly etag: string;
  readonly modifiedAt: Date;
}

/** Throws PreconditionFailed. False: not modified, which for the source of a copy (`prefix` is `x-amz-copy-source-`) is a failure too. */
export function checkConditions(headers: IncomingHttpHeaders, found: Validators, prefix = ''): boolean {
  const value = (name: string): string | undefined => {
    const text = headers[prefix + name];
    return typeof text === 'string' ? text : undefined;
  };
  const ifMatch = value('if-match');
  const ifNoneMatch = value('if-none-match');
  if (ifMatch !== undefined) {
    if (!etagMatches(ifMatch, found.etag)) preconditionFailed();
  } else if (isLater(found.modifiedAt, value('if-unmodified-since')) === true) preconditionFailed();
  const unchanged = ifNoneMatch === undefined ? isLater(found.modifiedAt, value('if-modified-since')) === false : etagMatches(ifNoneMatch, found.etag);
  if (unchanged && prefix !== '') preconditionFailed();
  return !unchanged;
}

/** What a put or a completed upload may demand of the object it replaces. */
export function putCondition(headers: IncomingHttpHeaders): PutCondition {
  const ifNoneMatch = headers['if-none-match'];
  const ifMatch = headers['if-match'];
  if (ifNoneMatch !== undefined && ifNoneMatch !== '*') fail('NotImplemented', 'A put takes If-None-Match: * only.');
  return {
    ...(ifNoneMatch === undefined ? {} : { mustBeAbsent: true }),
    ...(ifMatch === undefined ? {} : { mustMatch: (etag: string) => etagMatches(ifMatch, etag) }),
  };
}

export const preconditionFailed = (): never => fail('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold');

function etagMatches(list: string, etag: string): boolean {
  return list.split(',').some((item) => {
    const text = item.trim().replace(/^W\//, '').replaceAll('"', '');
    return text === '*' || text === etag;
  });
}

/** Undefined: no usable date. HTTP dates have whole seconds. */
function isLater(modifiedAt: Date, header: string | undefined): boolean | undefined {
  const limit = header === undefined ? Number.NaN : Date.parse(header);
  return Number.isNaN(limit) ? undefined : Math.floor(modifiedAt.getTime() / 1000) > Math.floor(limit / 1000);
}

export interface ByteRange {
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
}

/** Undefined: the whole. Several ranges and malformed ones mean the whole, as in S3; one that lies outside is InvalidRange. */
export function rangeOf(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  const match = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header ?? '');
  const [, from = '', to = ''] = match ?? [];
  if (match === null || (from === '' && to === '')) return undefined;
  if (from === '') {
    const length = Math.min(Number(to), sizeBytes);
    return length === 0 ? outside() : { first: sizeBytes - length, last: sizeBytes - 1 };
  }
  const first = Number(from);
  const last = to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  if (to !== '' && Number(to) < first) return undefined;
  return first >= sizeBytes ? outside() : { first, last };
}

const outside = (): never => fail('InvalidRange', 'The requested range is not satisfiable');
