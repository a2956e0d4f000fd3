// `novact manage audit …`: who changed what, from where, and what came of it.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { selectAuditRecords, type AuditRow } from '../../db/audit.ts';
import type { ManageDeps } from './deps.ts';

type Deps = Pick<ManageDeps, 'db' | 'auth' | 'clock'>;

const command = manageCommand<Deps>();

const shownMax = 10_000;
const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const agoForm = /^(\d{1,6})([smhdw])$/;

/** `2026-11-30T09:00Z` or, of so long ago, `90m`, `7d`. */
const moment = z.string().refine(
  (text) => agoForm.test(text) || (/^\d{4}-\d{2}-\d{2}/.test(text) && !Number.isNaN(Date.parse(text))),
  'a time is needed, such as 2026-11-30T09:00Z, or 90m, 12h, 7d ago',
);

function dateOf(text: string, nowMs: number): Date {
  const [, number, unit = ''] = agoForm.exec(text) ?? [];
  return new Date(number === undefined ? Date.parse(text) : nowMs - Number(number) * (unitsMs[unit] ?? 0));
}

const optional = (text: string) => z.string().min(1).optional().describe(text);

const shown = (row: AuditRow, projects: ReadonlyMap<string, string>) => ({
  id: row.id, at: row.at.toISOString(), user: row.userName ?? '', accessKey: row.accessKeyId ?? '',
  project: row.projectId === null ? '' : (projects.get(row.projectId) ?? row.projectId), source: row.source, service: row.service, action: row.action,
  outcome: row.outcome, code: row.code ?? '', status: row.status ?? '', about: row.about.join(' '), requestId: row.requestId,
});

export const auditCommands: readonly ManageCommand<Deps>[] = [
  command({
    category: 'audit', verb: 'list', positional: [],
    text: 'What was changed, or was to be: by whom, from where, what came of it. The last ones, the oldest of them first.',
    args: z.object({
      user: optional('Only of this user, by name or id; of manage, the account on the machine.'), project: optional('Only in this project, by name or id.'),
      accessKey: optional('Only with this access key.'), source: optional('Only from this address; of manage, on this host.'),
      service: z.enum(['ec2', 'sts', 'iam', 'admin', 's3', 'manage']).optional().describe('Only of this service.'),
      action: optional('Only this action: RunInstances, PutObject, "user create".'),
      outcome: z.enum(['done', 'refused', 'failed']).optional().describe('Only what came to this.'),
      code: optional('Only with this error code.'), request: optional('Only the request with this id.'),
      about: optional('Only about this id or name: an instance, a bucket, a user.'),
      since: moment.optional().describe('Not before: 2026-11-30T09:00Z, or 90m, 12h, 7d ago.'), until: moment.optional().describe('Before that time.'),
      count: z.coerce.number().int().min(1).max(shownMax).default(50).describe('How many.'),
      before: z.coerce.number().int().min(1).optional().describe('Only before the record with this id: what came before the first of a list.'),
    }),
    async run({ db, auth, clock }, { project, since, until, accessKey, request, count, ...rest }) {
      const known = project === undefined ? undefined : await auth.project(project);
      const rows = await selectAuditRecords(db, {
        ...rest, projectId: known?.id ?? project, accessKeyId: accessKey, requestId: request, limit: count,
        since: since === undefined ? undefined : dateOf(since, clock.now()), until: until === undefined ? undefined : dateOf(until, clock.now()),
      });
      const names = new Map((await auth.projects()).map(({ id, name }) => [id, name]));
      return rows.toReversed().map((row) => shown(row, names));
    },
  }),
];
