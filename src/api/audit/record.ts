// What of the calls of clients is recorded, and how: of every call that changes something, or was to, one record. The edges fill in what they know.
import type { AuditKind, AuditOutcome, AuditRecord, AuditService } from '../../db/audit.ts';

/** Of reading, only what hands out a key is recorded. */
const handingOutKeys: ReadonlySet<string> = new Set(['GetSessionToken', 'DescribeUser']);

/** By its name, as AWS names actions. `Preflight` is of a browser that asks whether it might ask. */
export const isRecorded = (action: string): boolean => !/^(Describe|Get|List|Head|Preflight)/i.test(action) || handingOutKeys.has(action);

export const outcomeOf = (status: number): AuditOutcome => (status < 400 ? 'done' : status < 500 ? 'refused' : 'failed');

export interface Who {
  readonly userId: string;
  readonly userName: string;
  readonly accessKeyId: string;
  readonly projectId?: string | undefined;
}

/** What an edge knows of a call that was answered. */
export interface AnsweredCall {
  readonly at: Date;
  readonly service: AuditService;
  readonly action: string;
  readonly status: number;
  readonly code: string | undefined;
  readonly requestId: string;
  /** By whose signature; undefined: by nobody's. */
  readonly principal: Who | undefined;
  /** Whose key was named in a request that is not theirs for all one knows. */
  readonly claimed?: Who | undefined;
  readonly source: string;
  readonly about: readonly string[];
  readonly kind: AuditKind;
}

export function auditRecord({ principal, claimed, code, about, kind, ...call }: AnsweredCall): AuditRecord {
  const who = principal ?? claimed;
  return {
    ...call, code: code ?? null, about: [...about], kind: principal === undefined ? 'data' : kind, outcome: outcomeOf(call.status),
    userId: who?.userId ?? null, userName: who?.userName ?? null, accessKeyId: who?.accessKeyId ?? null, projectId: who?.projectId ?? null,
    isProven: principal !== undefined,
  };
}
