// Virtual private clouds as handlers reach them: the caller's default one is there as soon as somebody looks.
import { ensureDefaultVpc, type DefaultVpc } from '../../db/vpcs.ts';
import type { TagText } from '../../db/tags.ts';
import { tagsOf } from '../../db/tags.ts';
import type { Call } from './action.ts';

/** What concerns networks is the netadmin's, as Nova's security groups are. */
export const networkChangers = ['netadmin'] as const;

/** Undefined while the cloud has no network yet, or none left for the project. */
export const defaultVpcOf = (call: Call): Promise<DefaultVpc | undefined> =>
  ensureDefaultVpc(call.db, {
    projectId: call.principal.projectId, zone: call.zone, now: call.clock.date(), projectNetworks: call.projectNetworks,
  });

export type Tagged<Row> = Row & { readonly tags: readonly TagText[] };

/** The caller's rows of one kind with their tags, the default VPC being made first. */
export async function loadTagged<Row extends { readonly id: string }>(call: Call, load: (projectId: string) => Promise<Row[]>): Promise<Tagged<Row>[]> {
  const { projectId } = call.principal;
  await defaultVpcOf(call);
  const rows = await load(projectId);
  const tags = await tagsOf(call.db, projectId, rows.map((row) => row.id));
  return rows.map((row) => ({ ...row, tags: tags.get(row.id) ?? [] }));
}

export const page = { min: 5, max: 1000 } as const;
