// `novact manage logs …`: what the processes of this host wrote: all of one request, whoever worked on it, and the last things that went wrong.
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import type { ManageDeps } from './deps.ts';

type Deps = Pick<ManageDeps, 'settings'>;

const command = manageCommand<Deps>();

/** With what logrotate put away last. */
const logNames = /^novact(-[a-z]+)?\.log(\.1)?$/;
/** Of each file, from its end: days of an ordinary cloud, and read in a second. */
const bytesMax = 64 * 1024 * 1024;
const shownMax = 1_000;
const levels: Readonly<Record<number, string>> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' };
/** Shown in columns of their own, or of no use to anybody who reads. */
const told = new Set(['time', 'level', 'msg', 'requestId', 'err', 'role']);

interface Line {
  readonly time: string;
  readonly level: string;
  readonly from: string;
  readonly requestId: string;
  readonly message: string;
  readonly more: string;
}

/** The lines that `isMeant` takes, the oldest first. Only these are read as JSON: logs are long. */
async function linesOf({ state }: Deps['settings'], isMeant: (text: string) => boolean): Promise<Line[]> {
  const names = (await readdir(state)).filter((name) => logNames.test(name)).toSorted();
  const lines: Line[] = [];
  for (const name of names) {
    const path = join(state, name);
    const { size } = await stat(path);
    const texts = createInterface({ input: createReadStream(path, { start: Math.max(0, size - bytesMax) }), crlfDelay: Infinity });
    for await (const text of texts) {
      const line = isMeant(text) ? lineOf(name.replace(/\.log.*$/, ''), text) : undefined;
      if (line !== undefined) lines.push(line);
    }
  }
  return lines.toSorted((one, other) => (one.time < other.time ? -1 : one.time > other.time ? 1 : 0));
}

/** Undefined: the line is cut, by the end of the file or by where reading began. */
function lineOf(process: string, text: string): Line | undefined {
  let entry: Readonly<Record<string, unknown>>;
  try {
    entry = JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
  const word = (name: string): string => (typeof entry[name] === 'string' ? (entry[name] as string) : '');
  const error = (entry['err'] as { message?: string } | undefined)?.message;
  const rest = Object.entries(entry).filter(([name]) => !told.has(name))
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return {
    time: word('time'), level: levels[Number(entry['level'])] ?? '', from: word('role') || process, requestId: word('requestId'),
    message: [word('msg'), error].filter((part) => part !== undefined && part !== '').join(': '), more: rest.join(' '),
  };
}

export const logCommands: readonly ManageCommand<Deps>[] = [
  command({
    category: 'logs', verb: 'errors', text: 'The last errors in the logs of this host\'s processes.', positional: [],
    args: z.object({
      count: z.coerce.number().int().min(1).max(shownMax).default(20).describe('How many.'),
      warnings: z.boolean().default(false).describe('Warnings too.'),
    }),
    run: async ({ settings }, { count, warnings }) => {
      const wanted = warnings ? /"level":[456]0\b/ : /"level":[56]0\b/;
      return (await linesOf(settings, (text) => wanted.test(text))).slice(-count);
    },
  }),
  command({
    category: 'logs', verb: 'request', positional: ['requestId'],
    text: 'Everything that this host\'s processes wrote of one request, by the id that its answer had. At the level info the api tells of each.',
    args: z.object({
      requestId: z.string().regex(/^[\w-]{8,64}$/, 'the id of a request is needed').describe('From the client\'s error, or the header of its answer.'),
    }),
    run: async ({ settings }, { requestId }) => (await linesOf(settings, (text) => text.includes(`"${requestId}"`))).slice(-shownMax),
  }),
];
