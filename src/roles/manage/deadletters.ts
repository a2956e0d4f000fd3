// `novact manage deadletters …`: the messages that nobody could handle, to be looked at, put back or dropped.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { SetupError } from '../../lib/errors.ts';
import type { DeadLetter, Transport } from '../../transport/transport.ts';

interface Deps {
  readonly transport: Pick<Transport, 'deadLetters' | 'requeue' | 'drop'>;
}

const command = manageCommand<Deps>();
const remedy = '`novact manage deadletters list` shows those there are.';
const none = (id: string): SetupError => new SetupError(`there is no dead letter ${id}`, remedy);
const one = z.object({ id: z.string().min(1).describe('Id of the dead letter.') });

async function letterOf({ transport }: Deps, id: string): Promise<DeadLetter> {
  const letter = (await transport.deadLetters()).find((each) => each.id === id);
  if (letter === undefined) throw none(id);
  return letter;
}

const at = (letter: DeadLetter): string => new Date(letter.at).toISOString();

export const deadLetterCommands: readonly ManageCommand<Deps>[] = [
  command({
    category: 'deadletters', verb: 'list', text: 'List messages that nobody could handle, the newest last.', positional: [],
    args: z.object({ to: z.string().optional().describe('Only those of this mailbox, as compute@host1.') }),
    run: async ({ transport }, { to }) => (await transport.deadLetters()).filter((letter) => to === undefined || letter.to === to)
      .map((letter) => ({ id: letter.id, at: at(letter), to: letter.to, type: letter.type, reason: letter.reason, error: letter.error ?? '' })),
  }),
  command({
    category: 'deadletters', verb: 'show', text: 'Show one dead letter, its message included.', positional: ['id'], args: one,
    run: async (deps, { id }) => {
      const letter = await letterOf(deps, id);
      return { ...letter, at: at(letter), error: letter.error ?? '', envelope: letter.envelope ?? '' };
    },
  }),
  command({
    category: 'deadletters', verb: 'requeue', text: 'Put a dead letter back into its mailbox, as a message without a deadline.', positional: ['id'], args: one,
    run: async (deps, { id }) => {
      const letter = await letterOf(deps, id);
      if (await deps.transport.requeue(id)) return `${letter.type} waits in ${letter.to} again`;
      throw new SetupError(`the dead letter ${id} is no message that could be sent again (${letter.reason})`, '`novact manage deadletters drop` forgets it.');
    },
  }),
  command({
    category: 'deadletters', verb: 'drop', text: 'Forget a dead letter, or all of them.', positional: ['id'],
    args: z.object({ id: z.string().min(1).optional().describe('Id of the dead letter.'), all: z.boolean().optional().describe('All there are.') }),
    run: async ({ transport }, { id, all }) => {
      if ((id === undefined) === (all !== true)) throw new SetupError('an id is needed, or --all', remedy);
      if (id !== undefined && !(await transport.drop(id))) throw none(id);
      if (id !== undefined) return `dropped ${id}`;
      let dropped = 0;
      for (const letter of await transport.deadLetters()) if (await transport.drop(letter.id)) dropped += 1;
      return `dropped ${dropped}`;
    },
  }),
];
