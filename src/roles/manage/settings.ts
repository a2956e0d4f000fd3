// `novact manage config …` and `novact manage db …`: what the running process was set up with, and of which age its database is.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { shownValue } from '../../cli/show.ts';
import { environmentKey, optionNames, optionOf } from '../../config/options.ts';
import { ownSchema, refuseNewerSchema } from '../../db/upgrade-schema.ts';
import { SetupError } from '../../lib/errors.ts';
import type { ManageDeps } from './deps.ts';

type Deps = Pick<ManageDeps, 'db' | 'settings'>;

const command = manageCommand<Deps>();

export const settingsCommands: readonly ManageCommand<Deps>[] = [
  command({
    category: 'config', verb: 'list', text: 'The settings that the running process was started with; secrets are not shown.', positional: [],
    args: z.object({ match: z.string().min(1).optional().describe('Only those that have this in their name.') }),
    run: async ({ settings }, { match }) => optionNames
      .map((option) => ({ name: environmentKey(option), value: shownValue(settings[option], optionOf(option).secret ?? false) }))
      .filter(({ name }) => match === undefined || name.includes(match.toUpperCase())),
  }),
  command({
    category: 'db', verb: 'version', text: 'When the last change of the schema was made that the database has. A start brings it to the release\'s own.',
    positional: [], args: z.object({}),
    run: async ({ db }) => {
      const latest = await refuseNewerSchema(db);
      return latest === undefined ? 'none' : new Date(latest).toISOString();
    },
  }),
  command({
    category: 'db', verb: 'sync', positional: [], args: z.object({}),
    text: 'Whether the schema is that of this release. Every start brings it there, so that nothing is left to do; it fails if something is, after a restore.',
    run: async ({ db }) => {
      const [latest, own] = [await refuseNewerSchema(db), ownSchema()];
      if (latest === own) return `the schema is that of this release: ${new Date(own).toISOString()}`;
      throw new SetupError('the database has an older schema than this release', 'Start the processes of the cloud again: they bring it up to date.');
    },
  }),
];
