// What the audit log learns of S3: one record of each request that changes something, or was to. What is done to buckets is waited for; puts of objects
// are many, and are written soon.
import type { Middleware } from 'koa';
import type { Claimed } from '../../auth/refusal.ts';
import type { Principal } from '../../auth/principal.ts';
import type { AuditTrail } from '../../db/audit.ts';
import type { Clock } from '../../lib/clock.ts';
import { auditRecord, isRecorded } from './record.ts';

/** What becomes known of a request on its way, as `context.state` has it. */
export interface KnownRequest {
  readonly requestId?: string;
  /** AWS's name of the operation. */
  operation?: string;
  bucket?: string;
  key?: string;
  principal?: Principal | undefined;
  claimed?: Claimed | undefined;
  /** The code that was answered. */
  error?: string;
}

/** Of a bucket, and all the same of what is in it. */
const ofObjects: ReadonlySet<string> = new Set(['PostObject', 'DeleteObjects']);
const keyMax = 200;

export function recordChanges(options: { readonly trail: AuditTrail; readonly clock: Clock }): Middleware {
  return async (context, next) => {
    await next();
    const { requestId = '', operation, bucket = '', key = '', principal, claimed, error } = context.state as KnownRequest;
    if (operation === undefined || !isRecorded(operation)) return;
    const about = [bucket, key === '' ? '' : `${bucket}/${key.slice(0, keyMax)}`].filter((text) => text !== '');
    await options.trail.record(auditRecord({
      at: options.clock.date(), service: 's3', action: operation, status: context.status, code: error, requestId, principal, claimed,
      source: context.req.socket.remoteAddress ?? '', about, kind: key === '' && !ofObjects.has(operation) ? 'control' : 'data',
    }));
  };
}
