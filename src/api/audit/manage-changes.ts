// What the audit log learns of `novact manage`: one record of each command that changes something, or was to, before it is answered.
import type { AuditTrail } from '../../db/audit.ts';
import type { Clock } from '../../lib/clock.ts';
import { newRequestId } from '../../lib/ids.ts';
import type { PerformManage } from '../ops/perform-manage.ts';

/** Verbs that only read. What shows a secret is none of them. */
const readingVerbs: ReadonlySet<string> = new Set([
  'list', 'show', 'has', 'keys', 'blocked', 'hosts', 'certificates', 'issued', 'version', 'errors', 'request', 'tasks',
]);
const readingCommands: ReadonlySet<string> = new Set(['host resources', 'authority crl', 'db sync']);

export const isRecordedCommand = (category: string, verb: string): boolean => !readingVerbs.has(verb) && !readingCommands.has(`${category} ${verb}`);

/** Arguments that say what a command is about. No other is recorded: a secret has another name. */
const told: readonly string[] = [
  'project', 'user', 'name', 'role', 'id', 'task', 'kind', 'host', 'to', 'network', 'range', 'pool', 'key', 'enabled', 'admin', 'manager', 'limit', 'address',
  'cidr',
];
const toldMax = 128;
/** Which say nothing without their names. */
const withName: ReadonlySet<string> = new Set(['enabled', 'admin', 'limit']);

export interface ManageAudit {
  readonly trail: AuditTrail;
  readonly clock: Clock;
  /** Which performs the commands: whoever calls is there, with its token. */
  readonly host: string;
}

export function recordManage(perform: PerformManage, { trail, clock, host }: ManageAudit): PerformManage {
  return async (request) => {
    const answer = { ...(await perform(request)), requestId: newRequestId() };
    const { category, verb, args, by } = request;
    if (!isRecordedCommand(category, verb)) return answer;
    await trail.record({
      at: clock.date(), kind: 'control', service: 'manage', action: `${category} ${verb}`, outcome: answer.outcome,
      code: answer.outcome === 'done' ? null : (answer.code ?? null), status: null, requestId: answer.requestId, userId: null, userName: by ?? null,
      accessKeyId: null, projectId: null, source: host, about: aboutArgs(args), isProven: true,
    });
    return answer;
  };
}

function aboutArgs(args: Readonly<Record<string, unknown>>): string[] {
  return told.flatMap((name) => {
    const value = args[name];
    if ((typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') || value === '') return [];
    const text = String(value).slice(0, toldMax);
    return [withName.has(name) ? `${name}=${text}` : text];
  });
}
