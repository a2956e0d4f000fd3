// `novact manage host …`: the life of a host, as its operators lead it.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { cancelHostWork, removeHost, setHostEnabled, usesOfHosts } from '../../db/host-admin.ts';
import { findHost, inhabitants, requestHostWork, type HostOperationKind } from '../../db/host-work.ts';
import { hostStateOf, listHosts, type HostRow } from '../../db/hosts.ts';
import { operationsOf, type Operation } from '../../db/operations.ts';
import { SetupError } from '../../lib/errors.ts';
import { newRequestId } from '../../lib/ids.ts';
import type { ManageDeps } from './deps.ts';

const operator = 'operator';
/** Long enough for a host full of large guests. */
const workDeadlineMs = 24 * 3_600_000;
const operationsShown = 5;

const name = z.string().min(1).max(63).describe('The host.');
const lookUp = 'See: novact manage host list';

const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`;

const operationText = ({ createdAt, kind, state, error }: Operation): string =>
  `${createdAt.toISOString()} ${kind} ${state}${error === null ? '' : `: ${error}`}`;

async function hostOf({ db }: ManageDeps, host: string): Promise<HostRow> {
  const row = await findHost(db, host);
  if (row === undefined) throw new SetupError(`there is no host ${host}`, lookUp);
  return row;
}

async function heardOf({ directory }: ManageDeps): Promise<ReadonlyMap<string, string>> {
  return new Map((await directory.lastSeen('compute')).map(({ host, agoMs }) => [host, `${seconds(agoMs)} ago`]));
}

const list = manageCommand<ManageDeps>()({
  category: 'host', verb: 'list', text: 'All hosts: whether they are up, and what they carry.', positional: [], args: z.object({}),
  async run(deps) {
    const heard = await heardOf(deps);
    return (await listHosts(deps.db)).map((host) => ({
      name: host.name, zone: host.zone, state: hostStateOf(host), heard: heard.get(host.name) ?? '-', hypervisor: host.hypervisor,
      cores: `${host.claimedCores}/${host.cores}`, memoryMiB: `${host.claimedMemoryMiB}/${host.memoryMiB}`, diskGiB: `${host.claimedDiskGiB}/${host.diskGiB}`,
      note: host.downSince !== null ? `down since ${host.downSince.toISOString()}` : (host.disabledReason ?? ''),
    }));
  },
});

const show = manageCommand<ManageDeps>()({
  category: 'host', verb: 'show', text: 'One host, its instances, and what was last done to it.', positional: ['name'], args: z.object({ name }),
  async run(deps, args) {
    const host = await hostOf(deps, args.name);
    const [heard, rows, done] = await Promise.all([heardOf(deps), inhabitants(deps.db, host.name), operationsOf(deps.db, host.name, operationsShown)]);
    return {
      name: host.name, zone: host.zone, state: hostStateOf(host), enabled: host.enabled, disabledReason: host.disabledReason ?? '-',
      downSince: host.downSince?.toISOString() ?? '-', heard: heard.get(host.name) ?? 'never', address: host.address ?? '-', hypervisor: host.hypervisor,
      instances: rows.map((row) => `${row.id} ${row.state}${row.hostLost ? ' (ran when the host was lost)' : ''}`).join(', ') || 'none',
      operations: done.map(operationText).join('; ') || 'none',
    };
  },
});

const enable = manageCommand<ManageDeps>()({
  category: 'host', verb: 'enable', text: 'Lets new instances come to a host. A drain of it that goes on is given up.', positional: ['name'],
  args: z.object({ name }),
  async run(deps, args) {
    await hostOf(deps, args.name);
    const given = await cancelHostWork(deps.db, args.name, operator, deps.clock.date());
    await setHostEnabled(deps.db, args.name, { enabled: true, reason: null });
    return `${args.name} takes instances${given.length === 0 ? '' : `; given up: ${given.join(', ')}`}`;
  },
});

const disable = manageCommand<ManageDeps>()({
  category: 'host', verb: 'disable', text: 'Lets no new instances come to a host. Those there stay.', positional: ['name'],
  args: z.object({ name, reason: z.string().max(200).optional().describe('Why, in words, for others to read.') }),
  async run(deps, args) {
    if (!(await setHostEnabled(deps.db, args.name, { enabled: false, reason: args.reason ?? `disabled by ${operator}` }))) await hostOf(deps, args.name);
    return `${args.name} takes no new instances`;
  },
});

async function wish(deps: ManageDeps, kind: HostOperationKind, host: string, input: Record<string, unknown>): Promise<string> {
  const wished = await requestHostWork(deps.db, {
    kind, host, input, userId: operator, requestId: newRequestId(), deadline: new Date(deps.clock.now() + workDeadlineMs),
  }, deps.clock.date());
  if ('refusal' in wished) throw new SetupError(wished.refusal, lookUp);
  deps.relay.kick();
  return wished.operationId;
}

const drain = manageCommand<ManageDeps>()({
  category: 'host', verb: 'drain', text: 'Disables a host, and moves its instances to others, a few at a time.', positional: ['name'],
  args: z.object({ name, live: z.boolean().default(false).describe('Running guests go on running; else each is stopped, moved and started.') }),
  async run(deps, args) {
    const id = await wish(deps, 'host.drain', args.name, { live: args.live });
    return `${args.name} is being drained (${id}); see: novact manage host show ${args.name}`;
  },
});

const evacuate = manageCommand<ManageDeps>()({
  category: 'host', verb: 'evacuate',
  text: 'Starts the instances of a host that is down on other hosts. Be sure that it is really dead: a guest that still runs there would run twice.',
  positional: ['name'],
  args: z.object({
    name,
    rebuild: z.boolean().default(false).describe('Disks are not shared: each begins anew with a fresh root disk from its image. What it wrote is lost.'),
  }),
  async run(deps, args) {
    const isShared = deps.settings.instancesShared === 'yes';
    if (args.rebuild && isShared) {
      throw new SetupError('the disks of the instances are on a folder that all hosts share: nothing is lost', 'Evacuate without --rebuild.');
    }
    if (!args.rebuild && !isShared) {
      throw new SetupError(
        `the disks of ${args.name}'s instances are on ${args.name} alone`,
        'Wait for the host: its instances go on when it returns. Or evacuate with --rebuild: fresh root disks, what the guests wrote is lost.',
      );
    }
    const id = await wish(deps, 'host.evacuate', args.name, { rebuild: args.rebuild });
    return `${args.name} is being evacuated (${id}); see: novact manage host show ${args.name}`;
  },
});

const remove = manageCommand<ManageDeps>()({
  category: 'host', verb: 'remove', text: 'Takes a host out of the cloud that is down and has no instances.', positional: ['name'], args: z.object({ name }),
  async run(deps, args) {
    const refused = await removeHost(deps.db, args.name, deps.clock.date());
    if (refused !== undefined) throw new SetupError(refused.refusal, lookUp);
    for (const role of ['compute', 'network', 'volume'] as const) await deps.directory.forget(role, args.name);
    return `${args.name} is out of the cloud; if it has a user in Redis, remove that too`;
  },
});

const resources = manageCommand<ManageDeps>()({
  category: 'host', verb: 'resources', text: 'What hosts have, what is promised of it, and what each project uses of it.', positional: [],
  args: z.object({ host: z.string().optional().describe('Only this one.') }),
  async run(deps, args) {
    const rows = args.host === undefined ? await listHosts(deps.db) : [await hostOf(deps, args.host)];
    const uses = await usesOfHosts(deps.db, args.host);
    return rows.flatMap((host) => [
      { host: host.name, project: '(total)', instances: '', cores: host.cores, memoryMiB: host.memoryMiB, diskGiB: host.diskGiB },
      { host: host.name, project: '(promised)', instances: '', cores: host.claimedCores, memoryMiB: host.claimedMemoryMiB, diskGiB: host.claimedDiskGiB },
      ...uses.filter((use) => use.host === host.name).map((use) => (
        { host: host.name, project: use.projectId, instances: use.instances, cores: use.cores, memoryMiB: use.memoryMiB, diskGiB: use.rootGiB }
      )),
    ]);
  },
});

export const hostCommands: readonly ManageCommand<ManageDeps>[] = [list, show, enable, disable, drain, evacuate, remove, resources];
