// The commands of `novact`, their flags and what each of them calls. Flags for settings are made from the settings table.
import { Command, CommanderError, Option } from 'commander';
import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { loadSettings, type LoadedSettings } from '../config/load.ts';
import { flagName, optionNames, optionOf, roleNames, surroundings, type OptionName, type RoleName } from '../config/options.ts';
import { statePaths } from '../config/settings.ts';
import { systemClock } from '../lib/clock.ts';
import { messageOf, SetupError } from '../lib/errors.ts';
import { createRun } from '../lib/exec.ts';
import { silentLog } from '../lib/log.ts';
import type { HostRoles, PurgeCloud, StartCloud, WriteRedisUsers } from './cloud.ts';
import { purge, stopRunning } from './down.ts';
import { examineHost } from './host-checks.ts';
import { createManageProgram, expandWords, type AnyManageCommand } from './manage.ts';
import { runShell } from './manage-shell.ts';
import { connectOps } from './ops-client.ts';
import { exitCodes, NotRunning, reportFailure, type Output } from './output.ts';
import { settingRows, showActors, showChecks, showExplanation, showProcesses, statusJson } from './show.ts';
import { tryGuest } from './try.ts';
import { upServices } from './services.ts';
import { Interrupted, up } from './up.ts';
import { version } from './version.ts';

export interface ProgramContext {
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly directory: string;
  /** The composition root, loaded only by the commands that need it. */
  readonly root: () => Promise<Root>;
  readonly ended: () => Promise<string>;
  /** What the process ends with. */
  readonly setExitCode: (code: number) => void;
}

function withSettings(made: Command, taken: readonly OptionName[], shown: readonly OptionName[] | 'all'): Command {
  made.option('--config <file>', 'settings file; default: novact.toml here, else /etc/novact/novact.toml');
  for (const optionName of taken) {
    const { text, bare } = optionOf(optionName);
    const option = new Option(`${flagName(optionName)} ${bare === undefined ? '<value>' : '[value]'}`, text).preset(bare);
    made.addOption(shown === 'all' || shown.includes(optionName) ? option : option.hideHelp());
  }
  return made;
}

/** What the composition root offers to the command line. */
export interface Root {
  readonly startCloud: StartCloud;
  readonly purgeCloud: PurgeCloud;
  readonly writeRedisUsers: WriteRedisUsers;
  readonly manageCommands: readonly AnyManageCommand[];
}

type Flags = Readonly<Record<string, unknown>>;

const exitCodeHelp = '\nExit codes: 0 done, 1 it failed, 2 it was called or set up wrongly, 3 no running novact, 130 interrupted.';

export function createProgram(context: ProgramContext): Command {
  const program = new Command('novact')
    .description('Your own EC2 and S3 on your own machines.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .showHelpAfterError('(see: novact --help)')
    .addHelpText('after', exitCodeHelp);
  addUp(program, context);
  addRoles(program, context);
  addDown(program, context);
  addStatus(program, context);
  addDoctor(program, context);
  addTry(program, context);
  addExplain(program, context);
  addManage(program, context);
  addRedisUsers(program, context);
  addConfig(program, context);
  addFile(program, context, 'novarc', 'print the shell exports for clients: . <(novact novarc)');
  addFile(program, context, 's3cfg', 'print the configuration for s3cmd');
  return program;
}

/** A command that takes settings. The few that matter to it are in its help, the others work all the same. */
function command(parent: Command, name: string, text: string, shown: readonly OptionName[] | 'all' = ['state']): Command {
  return takesSettings(parent.command(name), text, shown);
}

function takesSettings(made: Command, text: string, shown: readonly OptionName[] | 'all'): Command {
  return withSettings(made.description(text), optionNames, shown).helpOption('-h, --help', 'print this help').addHelpText('after', exitCodeHelp);
}

function load(flags: Flags, { environment, directory }: ProgramContext, role?: RoleName): LoadedSettings {
  const given = Object.fromEntries(
    optionNames.flatMap((optionName) => {
      const value = flags[attributeName(optionName)];
      return typeof value === 'string' ? [[optionName, value]] : [];
    }),
  );
  const configFile = flags['config'];
  return loadSettings({
    flags: given, environment, directory, configFile: typeof configFile === 'string' ? configFile : undefined, around: surroundings(role),
  });
}

/** commander's own name of a flag. */
const attributeName = (optionName: OptionName): string => new Option(flagName(optionName)).attributeName();

function addUp(program: Command, context: ProgramContext): void {
  command(program, 'up', 'start the whole cloud on this machine, in the foreground', 'all').action(async (flags: Flags) => {
    const loaded = load(flags, context);
    if (flags['services'] === true) return context.setExitCode(await upServices({ loaded, output: context.output, ended: context.ended() }));
    const { startCloud } = await context.root();
    context.setExitCode(await up({ loaded, output: context.output, startCloud, ended: context.ended() }));
  }).option('--services', 'every role as a process of its own, with a private PostgreSQL and Redis: the distributed form on one machine');
}

/** What `bin/novact-ROLE` runs. */
export function createRoleProgram(context: ProgramContext, role: RoleName): Command {
  const program = new Command(`novact-${role}`).version(version(), '-V, --version', 'print the version').showHelpAfterError(`(see: novact-${role} --help)`);
  return runsRole(program, context, role);
}

const roleTexts: Readonly<Record<RoleName, string>> = {
  api: 'the EC2 and STS API: several may run, behind one address',
  scheduler: 'chooses hosts for guests, and watches over hosts: several may run',
  compute: 'runs the guests of this host',
  network: 'the bridges, addresses and rules of this host',
  volume: 'the volumes and snapshots of this host',
  objectstore: 'the S3 API, and the images',
};

function runsRole(made: Command, context: ProgramContext, role: RoleName): Command {
  return takesSettings(made, `run the role ${role} in the foreground: ${roleTexts[role]}`, 'all').action(async (flags: Flags) => {
    const loaded = load(flags, context, role);
    const { startCloud } = await context.root();
    context.setExitCode(await up({ loaded, output: context.output, startCloud, role, ended: context.ended() }));
  });
}

function addRoles(program: Command, context: ProgramContext): void {
  const parent = program.command('role').description('run one role as a process of its own: the same as bin/novact-NAME');
  for (const role of roleNames) runsRole(parent.command(role), context, role);
}

function addDown(program: Command, context: ProgramContext): void {
  command(program, 'down', 'stop the running novact; guests go on')
    .option('--purge', 'also remove guests, bridges, rules, database and files')
    .action(async (flags: Flags) => {
      const { settings } = load(flags, context);
      const { purgeCloud } = await context.root();
      const options = { settings, output: context.output, clock: systemClock, purgeCloud };
      await (flags['purge'] === true ? purge(options) : stopRunning(options));
    });
}

function addStatus(program: Command, context: ProgramContext): void {
  command(program, 'status', 'show what runs: endpoints, health, hosts, counts')
    .option('--json', 'as JSON')
    .option('--actors', 'show the tree of actors instead')
    .action(async (flags: Flags) => {
      const { output } = context;
      const ops = await connectOps(load(flags, context).settings);
      if (flags['actors'] === true) {
        const rows = await ops.actors();
        return flags['json'] === true ? output.json(rows) : showActors(rows, output);
      }
      const processes = await ops.processes();
      if (flags['json'] === true) output.json(statusJson(processes));
      else showProcesses(processes, output);
      if (processes.some(({ answer }) => answer === undefined || answer.health?.some((check) => !check.ok))) context.setExitCode(exitCodes.failed);
    });
}

function addDoctor(program: Command, context: ProgramContext): void {
  command(program, 'doctor', 'show what this machine lacks, and the command that mends it', ['state', 'hypervisor'])
    .option('--json', 'as JSON')
    .action(async (flags: Flags) => {
      const checks = await examineHost(load(flags, context).settings, createRun({ log: silentLog }));
      if (flags['json'] === true) context.output.json(checks);
      else showChecks(checks, context.output);
      if (checks.some((check) => check.state === 'missing')) context.setExitCode(exitCodes.failed);
    });
}

function addTry(program: Command, context: ProgramContext): void {
  command(program, 'try', 'launch a guest through the API, log in to it, and put everything away')
    .option('--keep', 'leave the guest running and say how to log in')
    .option('--type <name>', 'instance type', 'm1.tiny')
    .option('--image <name>', 'name or id of the image', 'novact-tiny')
    .action(async (flags: Flags) => {
      const { settings } = load(flags, context);
      const run = createRun({ log: silentLog, networkNamespace: settings.networkNamespace });
      await tryGuest({
        settings, run, output: context.output, clock: systemClock, keep: flags['keep'] === true,
        instanceType: String(flags['type']), image: String(flags['image']),
      });
    });
}

function addExplain(program: Command, context: ProgramContext): void {
  command(program, 'explain', 'what a resource waits for, since when, who owns the step, the last error')
    .argument('<id>', 'of an instance, image …: i-0123456789abcdef0')
    .option('--json', 'as JSON')
    .action(async (id: string, flags: Flags) => {
      const explanation = await (await connectOps(load(flags, context).settings)).explain(id);
      if (explanation === undefined) throw new Error(`there is no ${id} here`);
      if (flags['json'] === true) context.output.json(explanation);
      else showExplanation(explanation, context.output);
    });
}

function addManage(program: Command, context: ProgramContext): void {
  program.command('manage').description('look after hosts, services, instances and messages: see novact manage --help').argument('[words...]')
    .helpOption(false).allowUnknownOption().action((words: readonly string[]) => manage(words, context));
}

const whereFlags = ['state', 'opsPort', 'config'];

async function manage(words: readonly string[], context: ProgramContext): Promise<void> {
  const { manageCommands } = await context.root();
  const program = createManageProgram({
    output: context.output, commands: manageCommands, setExitCode: context.setExitCode,
    withSettings: (made) => withSettings(made.addHelpText('after', exitCodeHelp), ['state', 'opsPort'], ['state', 'opsPort']),
    write: (name, content) => writeAnew(resolve(context.directory, name), content),
    perform: async (request, flags) => (await connectOps(load(pick(flags, whereFlags), context).settings)).manage(request),
    shell: (file, flags) => shell(file, pick(flags, whereFlags), context),
  });
  overrideExits(program);
  if (words.length === 0) return program.outputHelp();
  await program.parseAsync([...expandWords(words, manageCommands)], { from: 'user' });
}

/** Each line is a command line of its own, with the flags that the shell was called with. */
async function shell(file: string | undefined, flags: Flags, context: ProgramContext): Promise<number> {
  const given = Object.entries(flags).flatMap(([name, value]) => [`--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`, String(value)]);
  const input = file === undefined || file === '-' ? process.stdin : createReadStream(resolve(context.directory, file));
  const isTyped = file === undefined && process.stdin.isTTY;
  const lines = createInterface({ input, ...(isTyped ? { output: process.stdout } : {}), prompt: 'novact> ' });
  return runShell(lines, {
    isScript: file !== undefined,
    prompt: () => isTyped && lines.prompt(),
    async perform(words) {
      let code: number = exitCodes.done;
      const own = { ...context, setExitCode: (wanted: number) => void (code = wanted) };
      await manage([...words, ...given], own).catch((error: unknown) => void (code = exitCodeOf(error, context.output)));
      return code;
    },
  });
}

async function writeAnew(path: string, content: Buffer): Promise<string> {
  try {
    await writeFile(path, content, { mode: 0o600, flag: 'wx' });
    return path;
  } catch (cause) {
    throw new SetupError(`cannot write ${path}: ${messageOf(cause)}`, 'Name a file that is not there yet, in a folder that is.', { cause });
  }
}

const pick = (flags: Flags, names: readonly string[]): Flags => Object.fromEntries(Object.entries(flags).filter(([name]) => names.includes(name)));

/** What a command ends with that threw this, which is told here unless commander did. */
export function exitCodeOf(error: unknown, output: Output): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.setup;
  return error instanceof Interrupted ? exitCodes.interrupted : reportFailure(error, output);
}

/** commander ends the process by itself otherwise, with codes of its own. */
export function overrideExits(program: Command): void {
  program.exitOverride();
  for (const child of program.commands) overrideExits(child);
}

function addRedisUsers(program: Command, context: ProgramContext): void {
  program.command('redis-users').description('make a Redis user for each role of each host: users.acl for Redis, novact-ROLE.env for each host')
    .argument('<host=roles...>', 'h1=api,scheduler,objectstore,compute,network,volume h2=compute,network,volume; `all` is novact up')
    .requiredOption('--url <url>', 'of Redis, without user and password: rediss://10.0.0.1:6379')
    .requiredOption('--directory <folder>', 'where the files are written; passwords that are there already are kept')
    .helpOption('-h, --help', 'print this help').addHelpText('after', exitCodeHelp)
    .action(async (words: readonly string[], flags: Flags) => {
      const { writeRedisUsers } = await context.root();
      const folder = resolve(context.directory, String(flags['directory']));
      const written = await writeRedisUsers({ hosts: words.map(hostRolesOf), url: String(flags['url']), folder });
      for (const path of written) context.output.line(path);
    });
}

function hostRolesOf(word: string): HostRoles {
  const [host = '', list = ''] = word.split('=');
  const roles = list.split(',').map((name) => [...roleNames, 'all' as const].find((role) => role === name));
  if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(host) && !roles.includes(undefined)) return { host, roles: roles.filter((role) => role !== undefined) };
  throw new SetupError(`${word} is not HOST=ROLE,ROLE`, `Roles are ${[...roleNames, 'all'].join(', ')}.`);
}

function addConfig(program: Command, context: ProgramContext): void {
  const config = program.command('config').description('the settings');
  command(config, 'show', 'print every setting', 'all')
    .option('--origin', 'with where each value comes from')
    .option('--help-text', 'with what each means')
    .option('--json', 'as JSON')
    .action((flags: Flags) => {
      const rows = settingRows(load(flags, context));
      if (flags['json'] === true) return context.output.json(rows);
      const extra = (row: (typeof rows)[number]) => [...(flags['origin'] === true ? [row.origin] : []), ...(flags['helpText'] === true ? [row.text] : [])];
      const heads = [...(flags['origin'] === true ? ['ORIGIN'] : []), ...(flags['helpText'] === true ? ['WHAT'] : [])];
      context.output.table(['SETTING', 'VALUE', ...heads], rows.map((row) => [row.name, row.value, ...extra(row)]));
    });
}

function addFile(program: Command, context: ProgramContext, name: 'novarc' | 's3cfg', text: string): void {
  command(program, name, text).action(async (flags: Flags) => {
    const path = statePaths(load(flags, context).settings)[name];
    const content = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ENOENT' ? new NotRunning(`there is no ${path} yet: the first start writes it`) : error;
    });
    context.output.line(content.trimEnd());
  });
}
