// `novact manage`: flags come from the schemas, words may be shortened, answers become tables and exit codes.
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { manageCommand } from '../../../src/api/ops/manage.ts';
import { createManage, type ManageRequest } from '../../../src/api/ops/perform-manage.ts';
import { createManageProgram, expandWords } from '../../../src/cli/manage.ts';
import { createOutput } from '../../../src/cli/output.ts';
import { overrideExits } from '../../../src/cli/program.ts';
import { ApiError, SetupError } from '../../../src/lib/errors.ts';

const define = manageCommand<{ known: string }>();
const commands = [
  define({
    category: 'host', verb: 'list', text: 'shows hosts', positional: [], args: z.object({ zone: z.string().optional().describe('only of this zone') }),
    run: async ({ known }, { zone }) => [{ name: known, zone, claimedCores: 2 }],
  }),
  define({
    category: 'host', verb: 'drain', text: 'empties a host', positional: ['name'],
    args: z.object({
      name: z.string().describe('of the host'), toHost: z.string().optional(), waitSeconds: z.number().default(5), force: z.boolean().optional(),
    }),
    run: async (_, args) => args,
  }),
  define({
    category: 'host', verb: 'disable', text: 'takes no more', positional: ['name'], args: z.object({ name: z.string() }),
    run: async () => { throw new SetupError('no such host', 'look at the list'); },
  }),
  define({
    category: 'hosting', verb: 'list', text: 'other', positional: [], args: z.object({}),
    run: async () => { throw new ApiError('InvalidHost', 'refused'); },
  }),
  define({
    category: 'paper', verb: 'print', text: 'makes a file', positional: ['file'], args: z.object({ file: z.string().optional() }),
    run: async () => ({ file: { name: 'usual.txt', base64: Buffer.from('a\0b').toString('base64') } }),
  }),
  define({ category: 'service', verb: 'list', text: 'services', positional: [], args: z.object({}), run: async () => { throw new Error('broken'); } }),
];

async function manage(...words: string[]) {
  const said: string[] = [];
  const written: Record<string, string> = {};
  const stream = { write: (text: string) => void said.push(text) };
  const perform = createManage(commands, { known: 'h1' });
  const asked: ManageRequest[] = [];
  let code: number | undefined;
  const program = createManageProgram({
    output: createOutput(stream, stream, {}), commands, withSettings: (made) => made.option('--state <value>'), setExitCode: (wanted) => (code = wanted),
    shell: async (file, flags) => {
      said.push(`${file} ${JSON.stringify(flags)}`);
      return 7;
    },
    write: async (name, content) => {
      written[name] = content.toString('utf8');
      return `/here/${name}`;
    },
    perform: (request) => {
      asked.push(request);
      return perform(request);
    },
  });
  overrideExits(program);
  const print = { writeOut: (text: string) => void said.push(text), writeErr: (text: string) => void said.push(text) };
  for (const one of [program, ...program.commands.flatMap((category) => [category, ...category.commands])]) one.configureOutput(print);
  await program.parseAsync([...expandWords(words, commands)], { from: 'user' });
  return { code, text: said.join(''), request: asked[0], written };
}

describe('novact manage', () => {
  it('prints rows as a table, and everything as it is with --json', async () => {
    expect(await manage('host', 'list', '--zone', 'east')).toMatchObject({ code: 0, text: 'NAME  ZONE  CLAIMED CORES\nh1    east  2\n' });
    expect(JSON.parse((await manage('host', 'list', '--json')).text)).toEqual([{ name: 'h1', claimedCores: 2 }]);
  });

  it('takes arguments in order, numbers and switches, and leaves the flags of settings out of the request', async () => {
    const { request, text } = await manage('host', 'drain', 'h7', '--to-host', 'h8', '--wait-seconds', '9', '--force', '--state', '/x');
    expect(request).toEqual({ category: 'host', verb: 'drain', args: { name: 'h7', toHost: 'h8', waitSeconds: 9, force: true } });
    expect(text).toBe('name         h7\ntoHost       h8\nwaitSeconds  9\nforce        true\n');
  });

  it('knows words by their beginning, in the plural too, and says when there are two', async () => {
    expect((await manage('serv', 'l')).request).toMatchObject({ category: 'service', verb: 'list' });
    expect((await manage('hosts', 'dr', 'h1')).request).toMatchObject({ category: 'host', verb: 'drain' });
    expect(expandWords(['hos', 'l'], commands)).toEqual(['host', 'list']);
    expect(expandWords(['hosti', 'list'], commands)).toEqual(['hosting', 'list']);
    expect(() => expandWords(['host', 'd'], commands)).toThrow('short for drain and disable');
    expect(expandWords(['nothing', 'so'], commands)).toEqual(['nothing', 'so']);
  });

  it('hands a shell and a script to whoever reads their lines', async () => {
    expect(await manage('sh')).toMatchObject({ code: 7, text: 'undefined {}' });
    expect(await manage('shell', 'scr', 'file', '--state', '/x')).toMatchObject({ code: 7, text: 'file {"state":"/x"}' });
    await expect(manage('shell', 'script')).rejects.toMatchObject({ name: 'CommanderError' });
  });

  it('ends with 2 for what the operator can mend and says how, with 1 for what he cannot', async () => {
    expect(await manage('host', 'disable', 'h9')).toMatchObject({ code: 2, text: 'novact: no such host\n  to mend it: look at the list\n' });
    expect(await manage('hosting', 'list')).toMatchObject({ code: 2, text: 'novact: refused\n' });
    expect(await manage('service', 'list')).toMatchObject({ code: 1, text: 'novact: broken\n' });
    expect(await manage('host', 'drain', 'h1', '--wait-seconds', 'soon')).toMatchObject({ code: 2, text: expect.stringContaining('waitSeconds') });
  });

  it('refuses an unknown verb, a missing argument and an unknown flag before anything is asked', async () => {
    for (const words of [['host', 'paint'], ['host', 'drain'], ['host', 'list', '--colour', 'red']]) {
      await expect(manage(...words)).rejects.toMatchObject({ name: 'CommanderError' });
    }
  });

  it('writes what is for a file, under the name that is wished or the usual one, and says where', async () => {
    expect(await manage('paper', 'print')).toMatchObject({ code: 0, text: 'file  /here/usual.txt\n', written: { 'usual.txt': 'a\0b' } });
    const named = await manage('paper', 'print', 'other.txt', '--json');
    expect([JSON.parse(named.text), named.written]).toEqual([{ file: '/here/other.txt' }, { 'other.txt': 'a\0b' }]);
  });

  it('describes every argument in --help', async () => {
    await expect(manage('host', 'drain', '--help')).rejects.toMatchObject({ code: 'commander.helpDisplayed' });
  });
});
