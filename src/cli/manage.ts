// `novact manage CATEGORY VERB …`: commands and flags are made from the table of what a running novact can perform; category and verb may be
// shortened as long as it is clear what they mean. A running process performs it; here is only what it is called and how its answer is printed.
import { Argument, Command, Option } from 'commander';
import { z } from 'zod';
import type { FileResult, ManageCommand } from '../api/ops/manage.ts';
import type { ManageAnswer, ManageRequest } from '../api/ops/perform-manage.ts';
import { SetupError } from '../lib/errors.ts';
import { exitCodes, type Output } from './output.ts';

/** Commands as the command line sees them: whatever they work with is the running process's. */
export type AnyManageCommand = Pick<ManageCommand<never>, 'category' | 'verb' | 'text' | 'positional' | 'args'>;

type Word = Pick<AnyManageCommand, 'category' | 'verb'>;

/** What is done here, by asking for the others. */
const shellWords: readonly Word[] = [{ category: 'shell', verb: 'run' }, { category: 'shell', verb: 'script' }];

export interface ManageContext {
  readonly output: Output;
  readonly commands: readonly AnyManageCommand[];
  /** Adds the flags that every command has: where the running novact is. */
  readonly withSettings: (command: Command) => Command;
  readonly perform: (request: ManageRequest, flags: Readonly<Record<string, unknown>>) => Promise<ManageAnswer>;
  /** Writes what a command made for a file, for the owner alone and never over another one; says where it is. */
  readonly write: (name: string, content: Buffer) => Promise<string>;
  readonly setExitCode: (code: number) => void;
  /** Performs what is on the lines of a file, `-` for standard input, or what somebody types; with these flags each. */
  readonly shell: (file: string | undefined, flags: Readonly<Record<string, unknown>>) => Promise<number>;
}

/** The tree of commands, for one run of the command line. */
export function createManageProgram(context: ManageContext): Command {
  const program = new Command('novact manage').description('look after hosts, services, instances and messages; a running novact does it')
    .helpOption('-h, --help', 'print this help').helpCommand(false);
  for (const category of categoriesOf(context.commands)) {
    const parent = program.command(category).description(verbsOf(context.commands, category).join(', ')).helpCommand(false);
    for (const command of context.commands.filter((one) => one.category === category)) addVerb(parent, command, context);
  }
  addShell(program, context);
  return program;
}

function addShell(program: Command, { withSettings, shell, setExitCode }: ManageContext): void {
  const parent = program.command('shell').description('run, script: these commands, one on a line').helpCommand(false);
  const help = (made: Command) => withSettings(made).helpOption('-h, --help', 'print this help');
  help(parent.command('run', { isDefault: true }).description('Take commands as they are typed, until `exit`.'))
    .action(async (flags: Readonly<Record<string, unknown>>) => setExitCode(await shell(undefined, flags)));
  help(parent.command('script').description('Perform the commands of a file, one on a line, up to the first that fails; with its exit code.'))
    .argument('<file>', 'The file; - is standard input.')
    .action(async (file: string, flags: Readonly<Record<string, unknown>>) => setExitCode(await shell(file, flags)));
}

/** Category and verb in full: `ho dr h1` → `host drain h1`. Words that are no prefix stay, for commander to refuse. */
export function expandWords(words: readonly string[], performed: readonly Word[]): readonly string[] {
  const commands = [...performed, ...shellWords];
  const [first, second, ...rest] = words;
  if (first === undefined || first.startsWith('-')) return words;
  const category = expand(first, categoriesOf(commands), 'novact manage');
  if (second === undefined || second.startsWith('-')) return [category, ...words.slice(1)];
  return [category, expand(second, verbsOf(commands, category), `novact manage ${category}`), ...rest];
}

function expand(word: string, names: readonly string[], where: string): string {
  if (names.includes(word)) return word;
  const singular = word.replace(/s$/, '');
  if (names.includes(singular)) return singular;
  const plain = word.replaceAll('_', '-');
  const found = names.filter((name) => name.startsWith(plain));
  // `inst` is `instance`, and not `instance-type`: who means the longer one has to write on anyway.
  const shortest = found.find((name) => found.every((other) => other.startsWith(name)));
  if (shortest !== undefined) return shortest;
  if (found.length > 1) throw new SetupError(`${where} ${word} is short for ${found.join(' and ')}`, 'Write as much of it as makes it unique.');
  return word;
}

const categoriesOf = (commands: readonly Word[]): string[] => [...new Set(commands.map(({ category }) => category))].toSorted();
const verbsOf = (commands: readonly Word[], category: string): string[] =>
  commands.filter((one) => one.category === category).map(({ verb }) => verb);

function addVerb(parent: Command, command: AnyManageCommand, context: ManageContext): void {
  const made = context.withSettings(parent.command(command.verb).description(command.text)).option('--json', 'as JSON')
    .helpOption('-h, --help', 'print this help');
  const fields = fieldsOf(command);
  const positional = fields.filter(({ name }) => command.positional.includes(name))
    .toSorted((left, right) => command.positional.indexOf(left.name) - command.positional.indexOf(right.name));
  const flags = fields.filter(({ name }) => !command.positional.includes(name));
  for (const field of positional) made.addArgument(new Argument(field.isRequired ? `<${field.name}>` : `[${field.name}]`, field.text));
  for (const field of flags) made.addOption(optionOf(field));
  made.action(async (...given: unknown[]) => {
    const values = given.slice(0, positional.length);
    const options = given[positional.length] as Readonly<Record<string, unknown>>;
    const args: Record<string, unknown> = {};
    positional.forEach((field, index) => void (values[index] === undefined || (args[field.name] = valueOf(field, values[index]))));
    for (const field of flags) {
      const value = options[optionOf(field).attributeName()];
      if (value !== undefined) args[field.name] = valueOf(field, value);
    }
    const { category, verb } = command;
    const answer = await keepFile(await context.perform({ category, verb, args }, options), args['file'], context);
    context.setExitCode(showAnswer(answer, options['json'] === true, context.output));
  });
}

async function keepFile(answer: ManageAnswer, name: unknown, { write }: ManageContext): Promise<ManageAnswer> {
  if (answer.outcome !== 'done' || !isFileResult(answer.result)) return answer;
  const { file } = answer.result;
  return { outcome: 'done', result: { file: await write(typeof name === 'string' ? name : file.name, Buffer.from(file.base64, 'base64')) } };
}

const isFileResult = (result: unknown): result is FileResult =>
  typeof result === 'object' && result !== null && 'file' in result && typeof result.file === 'object' && result.file !== null && 'base64' in result.file;

interface Field {
  readonly name: string;
  readonly text: string;
  readonly kind: 'boolean' | 'number' | 'text';
  readonly choices: readonly string[];
  readonly isRequired: boolean;
}

function fieldsOf({ args, category, verb }: AnyManageCommand): readonly Field[] {
  if (!(args instanceof z.ZodObject)) throw new Error(`the arguments of manage ${category} ${verb} are not an object`);
  return Object.entries(args.shape as Readonly<Record<string, z.ZodType>>).map(([name, type]) => {
    const { inner, text } = unwrap(type);
    return {
      name, text,
      kind: inner instanceof z.ZodBoolean ? 'boolean' : inner instanceof z.ZodNumber ? 'number' : 'text',
      choices: inner instanceof z.ZodEnum ? inner.options.map(String) : [],
      isRequired: !type.safeParse(undefined).success,
    };
  });
}

/** The type under `optional` and `default`, and the description that is nearest. */
function unwrap(type: z.ZodType): { inner: z.ZodType; text: string } {
  let inner = type;
  let text = type.description;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault) {
    inner = inner.unwrap() as z.ZodType;
    text ??= inner.description;
  }
  return { inner, text: text ?? '' };
}

function optionOf(field: Field): Option {
  const flag = `--${field.name.replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2').toLowerCase()}`;
  const option = new Option(field.kind === 'boolean' ? flag : `${flag} <value>`, field.text);
  if (field.choices.length > 0) option.choices(field.choices);
  return field.isRequired && field.kind !== 'boolean' ? option.makeOptionMandatory() : option;
}

const valueOf = ({ kind }: Field, value: unknown): unknown => (kind === 'number' && typeof value === 'string' && value.trim() !== '' ? Number(value) : value);

/** Returns the exit code. */
export function showAnswer(answer: ManageAnswer, asJson: boolean, output: Output): number {
  if (answer.outcome !== 'done') {
    if (asJson) output.json(answer);
    output.note(`${output.tint('red', 'novact:')} ${answer.message}`);
    if (answer.remedy !== undefined) output.note(`  ${output.tint('bold', 'to mend it:')} ${answer.remedy}`);
    return answer.outcome === 'refused' ? exitCodes.setup : exitCodes.failed;
  }
  if (asJson) output.json(answer.result);
  else showResult(answer.result, output);
  return exitCodes.done;
}

function showResult(result: unknown, output: Output): void {
  if (Array.isArray(result)) return showRows(result, output);
  if (result === null || result === undefined) return output.line('done');
  if (typeof result !== 'object') return output.line(String(result));
  const entries = Object.entries(result);
  const width = Math.max(0, ...entries.map(([name]) => name.length));
  for (const [name, value] of entries) output.line(`${name.padEnd(width)}  ${cell(value)}`);
}

function showRows(rows: readonly unknown[], output: Output): void {
  const objects = rows.filter((row) => typeof row === 'object' && row !== null);
  if (objects.length < rows.length) return rows.forEach((row) => output.line(cell(row)));
  const names = [...new Set(objects.flatMap((row) => Object.keys(row)))];
  if (names.length === 0) return output.line('none');
  output.table(names.map(heading), objects.map((row) => names.map((name) => cell((row as Record<string, unknown>)[name]))));
}

/** `claimedCores` → `CLAIMED CORES`, and units as they are written. */
const heading = (name: string): string => {
  const [, words = name, unit] = /^(.*?)(MiB|GiB)?$/.exec(name) ?? [];
  return [words.replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2').toUpperCase(), unit].filter((part) => part !== undefined).join(' ');
};

function cell(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value as string | number | boolean);
}
