// `novact manage instance-type …`: the sizes that instances can have.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { deleteInstanceType, insertInstanceType, isSeeded, listInstanceTypes } from '../../db/instance-types.ts';
import { SetupError } from '../../lib/errors.ts';
import type { ManageDeps } from './deps.ts';

type Deps = Pick<ManageDeps, 'db'>;

const command = manageCommand<Deps>();
const name = z.string().regex(/^[a-z][a-z0-9-]{0,15}\.[a-z0-9-]{1,16}$/, 'a name such as m1.large is needed').describe('Its name, such as m1.large.');
const lookUp = 'See: novact manage instance-type list';

export const instanceTypeCommands: readonly ManageCommand<Deps>[] = [
  command({
    category: 'instance-type', verb: 'list', text: 'The instance types, in their order.', positional: [], args: z.object({}),
    run: async ({ db }) => (await listInstanceTypes(db)).map(({ name: type, cores, memoryMiB, rootGiB }) => ({ name: type, cores, memoryMiB, rootGiB })),
  }),
  command({
    category: 'instance-type', verb: 'create', text: 'Add an instance type. Its root disk is as large as the image when no size is given.',
    positional: ['name', 'memoryMiB', 'cores', 'rootGiB'],
    args: z.object({
      name, memoryMiB: z.coerce.number().int().min(16).max(16_777_216).describe('Memory, in MiB.'),
      cores: z.coerce.number().int().min(1).max(512).describe('Cores.'),
      rootGiB: z.coerce.number().int().min(0).max(65_536).default(0).describe('Size of the root disk, in GiB.'),
    }),
    run: async ({ db }, args) => {
      if (!(await insertInstanceType(db, args))) throw new SetupError(`there is an instance type ${args.name} already`, lookUp);
      return `${args.name} can be launched`;
    },
  }),
  command({
    category: 'instance-type', verb: 'delete', text: 'Take an instance type away. Instances that have it go on.', positional: ['name'],
    args: z.object({ name }),
    run: async ({ db }, args) => {
      if (isSeeded(args.name)) throw new SetupError(`${args.name} comes with novact, and would be back at its next start`, 'Delete types of your own.');
      if (!(await deleteInstanceType(db, args.name))) throw new SetupError(`there is no instance type ${args.name}`, lookUp);
      return `${args.name} is gone`;
    },
  }),
];
