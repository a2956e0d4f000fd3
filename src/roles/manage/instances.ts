// `novact manage instance …`: what an operator asks about instances of all projects, and moving one to another host.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { instancesForOperator, type OperatorView } from '../../db/operator-instances.ts';
import { requestMigration } from '../../db/migrate-work.ts';
import { addressesOfInstances } from '../../db/networks.ts';
import { operationsOf } from '../../db/operations.ts';
import { SetupError } from '../../lib/errors.ts';
import { newRequestId } from '../../lib/ids.ts';
import type { ManageDeps } from './deps.ts';

const listMax = 1_000;
const operationsShown = 10;
/** Longer than the longest move: images, memory, disk, and starting there. */
const moveDeadlineMs = 3 * 3_600_000;

export const instanceId = z.string().regex(/^i-[0-9a-f]{8,32}$/, 'an instance id such as i-0123456789abcdef0 is needed').describe('The instance.');

const list = manageCommand<ManageDeps>()({
  category: 'instance',
  verb: 'list',
  text: 'The instances of all projects, or those of one host.',
  positional: [],
  args: z.object({
    host: z.string().optional().describe('Only those on this host, or on their way to it.'),
    all: z.boolean().default(false).describe('Terminated ones too.'),
  }),
  run: listInstances,
});

export async function listInstances({ db }: Pick<ManageDeps, 'db'>, { host, all }: { host?: string | undefined; all: boolean }): Promise<unknown> {
  const rows = await instancesForOperator(db, { host, terminated: all, countMax: listMax });
  const addresses = await addressesOfInstances(db, rows.map((row) => row.id));
  return rows.map((row) => summary(row, addresses.get(row.id)));
}

const summary = (row: OperatorView, address: string | undefined) => ({
  id: row.id, state: row.state, host: row.host ?? '-', movingTo: row.migratingTo ?? '-', type: row.instanceType, address: address ?? '-',
  project: row.projectId,
});

const show = manageCommand<ManageDeps>()({
  category: 'instance',
  verb: 'show',
  text: 'One instance, with what was last done to it.',
  positional: ['id'],
  args: z.object({ id: instanceId }),
  run: async ({ db }, args) => {
    const [row] = await instancesForOperator(db, { id: args.id, terminated: true, countMax: 1 });
    if (row === undefined) throw new SetupError(`there is no instance ${args.id}`, 'See: novact manage instance list --all');
    const address = (await addressesOfInstances(db, [row.id])).get(row.id);
    const done = await operationsOf(db, row.id, operationsShown);
    return {
      ...summary(row, address), image: row.imageId, mac: row.mac, launched: row.launchedAt.toISOString(), reason: row.stateReasonMessage ?? '-',
      ...Object.fromEntries(done.map((operation, index) => [`operation ${index + 1}`, describeOperation(operation)])),
    };
  },
});

function describeOperation(operation: Awaited<ReturnType<typeof operationsOf>>[number]): string {
  const step = operation.steps.findLast((one) => one.state === 'doing')?.name;
  const where = operation.owner === null ? '' : ` at ${operation.owner}`;
  const error = operation.error === null ? '' : `: ${operation.error}`;
  return `${operation.createdAt.toISOString()} ${operation.kind} ${operation.state}${where}${step === undefined ? '' : `, step ${step}`}${error}`;
}

const migrate = manageCommand<ManageDeps>()({
  category: 'instance',
  verb: 'migrate',
  text: 'Moves an instance to another host: stopped and started there, or, with --live, while it runs.',
  positional: ['id'],
  args: z.object({
    id: instanceId,
    to: z.string().optional().describe('The host. Unset: the least used one that has room.'),
    live: z.boolean().default(false).describe('The guest goes on running; refused where hypervisor or host cannot do it.'),
  }),
  run: migrateInstance,
});

export async function migrateInstance(
  { db, clock, relay }: Pick<ManageDeps, 'db' | 'clock' | 'relay'>, args: { id: string; to?: string | undefined; live: boolean },
): Promise<string> {
  const wish = {
    instanceId: args.id, live: args.live, target: args.to, userId: 'operator', requestId: newRequestId(),
    deadline: new Date(clock.now() + moveDeadlineMs),
  };
  const wished = await requestMigration(db, wish, clock.date());
  if ('refusal' in wished) throw new SetupError(`the instance cannot be moved now: ${wished.refusal}`, `See: novact manage instance show ${args.id}`);
  relay.kick();
  return `${args.id} is being moved${args.to === undefined ? '' : ` to ${args.to}`}; see: novact manage instance show ${args.id}`;
}

export const instanceCommands: readonly ManageCommand<ManageDeps>[] = [list, show, migrate];
