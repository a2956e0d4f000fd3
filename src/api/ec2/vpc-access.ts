// Virtual private clouds as handlers reach them: the caller's default one is there as soon as somebody looks.
import type { VpcChange } from '../../db/change-vpc.ts';
import { findSharedNetwork } from '../../db/networks.ts';
import type { ProjectNetworkPolicy } from '../../db/project-networks.ts';
import { ensureDefaultVpc, type DefaultVpc } from '../../db/vpcs.ts';
import type { TagText } from '../../db/tags.ts';
import { tagsOf } from '../../db/tags.ts';
import { fail, type Call } from './action.ts';
import { failNotFound } from './resource-kinds.ts';

/** What concerns networks is the netadmin's, as Nova's security groups are. */
export const networkChangers = ['netadmin'] as const;

/** Undefined while the cloud has no network yet, or none left for the project. */
export const defaultVpcOf = (call: Call): Promise<DefaultVpc | undefined> =>
  ensureDefaultVpc(call.db, {
    projectId: call.principal.projectId, zone: call.zone, now: call.clock.date(), projectNetworks: call.projectNetworks,
  });

/** How networks of projects are made here. Where all projects share one there are no VPCs to be changed, and the client is told so. */
export async function projectNetworks(call: Call): Promise<ProjectNetworkPolicy> {
  if (call.projectNetworks !== undefined) return call.projectNetworks;
  const manager = (await findSharedNetwork(call.db))?.manager ?? 'flat';
  return fail('UnsupportedOperation',
    `The network manager is ${manager}, with one network for all projects: there are no VPCs and subnets beside the default ones, and its routes are fixed.`);
}

/** Of a change that this call makes. */
export const changeOf = ({ principal, requestId, clock }: Call): VpcChange => ({ projectId: principal.projectId, requestId, now: clock.date() });

/** In AWS's words. */
const nouns = { vpc: 'vpc', subnet: 'subnet', igw: 'internetGateway', rtb: 'routeTable' } as const;

/** Refuses with why a resource was not deleted: it was gone, or others still need it. */
export function checkDeleted(outcome: 'deleted' | 'absent' | 'inUse', prefix: keyof typeof nouns, id: string): void {
  if (outcome === 'absent') failNotFound(prefix, id);
  if (outcome === 'inUse') fail('DependencyViolation', `The ${nouns[prefix]} '${id}' has dependencies and cannot be deleted.`);
}

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
