// `novact manage quota …`: what projects may have at most, and what they have of it.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import type { Settings } from '../../config/settings.ts';
import type { Db } from '../../db/db.ts';
import { selectProject } from '../../db/identity.ts';
import { clearLimit, ownLimits, quotaNames, setLimit, usageOf, type Quotas } from '../../db/quotas.ts';
import { ApiError } from '../../lib/errors.ts';
import type { ManageDeps } from './deps.ts';

type Deps = Pick<ManageDeps, 'db' | 'settings'>;

const command = manageCommand<Deps>();
const project = z.string().min(1).describe('The project, by name or id.');
const name = z.enum(quotaNames).describe(`What is limited: ${quotaNames.join(', ')}. rules: of one security group in one direction.`);
const limitMax = Number.MAX_SAFE_INTEGER;

/** What holds for projects that were given nothing else. */
const usualQuotas = (settings: Settings): Quotas => ({
  instances: settings.instancesPerProjectMax, cores: settings.coresPerProjectMax, memoryMiB: settings.memoryMiBPerProjectMax,
  volumes: settings.volumesPerProjectMax, gigabytes: settings.gigabytesPerProjectMax, snapshots: settings.snapshotsPerProjectMax,
  addresses: settings.addressesPerProjectMax, groups: settings.securityGroupsPerProjectMax, rules: settings.rulesPerSecurityGroupMax,
  keys: settings.keyPairsPerProjectMax, images: settings.imagesPerProjectMax, buckets: settings.bucketsPerProjectMax, bytes: settings.bytesPerProjectMax,
});

async function projectIdOf(db: Db, wanted: string): Promise<string> {
  const found = await selectProject(db, wanted);
  if (found === undefined) throw new ApiError('NoSuchEntity', `There is no project ${wanted}.`, 404);
  return found.id;
}

export const quotaCommands: readonly ManageCommand<Deps>[] = [
  command({
    category: 'quota', verb: 'show', text: 'What a project may have, and what it has.', positional: ['project'], args: z.object({ project }),
    run: async ({ db, settings }, args) => {
      const id = await projectIdOf(db, args.project);
      const [usual, own, used] = [usualQuotas(settings), await ownLimits(db, id), await usageOf(db, id)];
      return quotaNames.map((each) =>
        ({ name: each, used: used[each], limit: own[each] ?? usual[each], from: own[each] === undefined ? 'default' : 'project' }));
    },
  }),
  command({
    category: 'quota', verb: 'set', positional: ['project', 'name', 'limit'],
    text: 'Give a project a limit of its own, from its next request on. What it has already stays.',
    args: z.object({ project, name, limit: z.coerce.number().int().min(0).max(limitMax).describe('So many, or so much, at most.') }),
    run: async ({ db }, args) => {
      await setLimit(db, await projectIdOf(db, args.project), args.name, args.limit);
      return `${args.project} may have ${args.limit} ${args.name}`;
    },
  }),
  command({
    category: 'quota', verb: 'reset', text: 'Let the cloud\'s default hold for a project again.', positional: ['project', 'name'],
    args: z.object({ project, name }),
    run: async ({ db, settings }, args) => {
      await clearLimit(db, await projectIdOf(db, args.project), args.name);
      return `${args.project} may have ${usualQuotas(settings)[args.name]} ${args.name}, as all`;
    },
  }),
];
