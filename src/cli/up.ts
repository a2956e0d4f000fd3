// `novact up`: the whole cloud in the foreground. Everything that can be wrong with the machine is said before anything is changed;
// Ctrl-C ends it cleanly and leaves the guests running.
import { startOpsServer } from '../api/ops/server.ts';
import { environmentKey, type OptionName } from '../config/options.ts';
import type { LoadedSettings } from '../config/load.ts';
import { statePaths, type Settings } from '../config/settings.ts';
import { systemClock } from '../lib/clock.ts';
import { messageOf, SetupError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import type { RunningCloud, StartCloud } from './cloud.ts';
import { writeCredentials } from './credentials.ts';
import { openChosenDatabase, type ChosenDatabase } from './database.ts';
import { bindProblem, checkHost } from './host-checks.ts';
import { exitCodes, type Output } from './output.ts';
import { ensureOpsToken, lockState, prepareStateFolder, rememberSettings } from './state-folder.ts';
import { version } from './version.ts';

export interface UpOptions {
  readonly loaded: LoadedSettings;
  readonly output: Output;
  readonly startCloud: StartCloud;
  /** Resolves with the name of the signal that asks for the end. A second one ends at once. */
  readonly ended: Promise<string>;
}

/** Closers, run backwards. */
type Closers = (() => Promise<unknown>)[];

/** Returns the exit code when the cloud has stopped. */
export async function up({ loaded, output, startCloud, ended }: UpOptions): Promise<number> {
  const { settings } = loaded;
  const closers: Closers = [];
  const startedAt = performance.now();
  banner(loaded, output);
  try {
    await checkHost(settings);
    await prepareStateFolder(settings);
    const lock = await lockState(settings, systemClock, 'up');
    closers.push(() => lock.release());
    await checkPorts(settings);
    await rememberSettings(settings);
    const { fatal, onFatal } = watchForDeath();
    const cloud = await Promise.race([start(settings, { output, startCloud, closers, onFatal }), fatal, interrupted(ended)]);
    sayReady(settings, cloud, output, performance.now() - startedAt);
    const signal = await Promise.race([ended, fatal]);
    output.line(`${signal}: stopping; guests go on`);
    return exitCodes.done;
  } finally {
    await closeAll(closers, output);
  }
}

/** The promise rejects with the first error that nothing can go on after. */
function watchForDeath(): { fatal: Promise<never>; onFatal: (error: unknown) => void } {
  const listeners: ((error: unknown) => void)[] = [];
  const fatal = new Promise<never>((_, reject) => void listeners.push(reject));
  fatal.catch(() => undefined);
  return { fatal, onFatal: (error) => listeners.forEach((listener) => listener(error)) };
}

interface StartContext {
  readonly output: Output;
  readonly startCloud: StartCloud;
  readonly closers: Closers;
  readonly onFatal: (error: unknown) => void;
}

async function start(settings: Settings, { output, startCloud, closers, onFatal }: StartContext): Promise<RunningCloud> {
  const log = createLog({ level: settings.logLevel, file: statePaths(settings).log });
  closers.push(() => new Promise<void>((resolve) => log.flush(() => resolve())));
  const since = systemClock.date().toISOString();
  let cloud: RunningCloud | undefined;
  let database: ChosenDatabase | undefined;
  const facts = () => ({
    version: version(), pid: process.pid, since, state: settings.state,
    database: database?.label ?? 'starting', hypervisor: cloud?.hypervisor.kind, endpoints: cloud?.endpoints,
  });
  const ops = await startOpsServer({ port: settings.opsPort, token: await ensureOpsToken(settings), log, facts, source: () => cloud });
  closers.push(() => ops.close());
  const say = (text: string) => output.line(`  ${output.tint('dim', '·')} ${text}`);
  database = await openChosenDatabase(settings, { log, onFatal });
  closers.push(database.stop);
  say(`database: ${database.label}`);
  if (database.notice !== undefined) say(output.tint('yellow', database.notice));
  const running = await startCloud({ ...settings, databaseUrl: database.url }, { log, onProgress: say, onFatal });
  closers.push(() => running.stop());
  cloud = running;
  await writeCredentials(settings, running.endpoints, running.founder);
  return running;
}

async function closeAll(closers: Closers, output: Output): Promise<void> {
  for (const close of closers.splice(0).toReversed()) {
    try {
      await close();
    } catch (error) {
      output.note(`  while stopping: ${messageOf(error)}`);
    }
  }
}

async function interrupted(ended: Promise<string>): Promise<never> {
  throw new Interrupted(await ended);
}

/** Ctrl-C before everything was up. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** A server would say so too, but only after the database and half of the roles were started. */
async function checkPorts(settings: Settings): Promise<void> {
  const wanted: readonly (readonly [OptionName, string])[] = [['apiPort', settings.bind], ['s3Port', settings.bind], ['opsPort', '127.0.0.1']];
  for (const [optionName, bind] of wanted) {
    const port = Number(settings[optionName]);
    const problem = await bindProblem(bind, port);
    if (problem === undefined) continue;
    throw new SetupError(
      `port ${port} (${environmentKey(optionName)}) on ${bind}: ${problem}`,
      `Find it with: ss -ltnp 'sport = :${port}'. Or choose another port: ${environmentKey(optionName)}.`,
    );
  }
}

function banner({ settings, notices }: LoadedSettings, output: Output): void {
  output.line(`${output.tint('bold', `novact ${version()}`)}  ${settings.state}`);
  for (const notice of notices) output.line(`  ${output.tint('yellow', notice)}`);
}

/** What a program said may have many lines; the log has them all. */
const oneLine = (text: string): string => {
  const joined = text.replaceAll(/\s+/g, ' ');
  return joined.length > 160 ? `${joined.slice(0, 159)}…` : joined;
};

function sayReady(settings: Settings, cloud: RunningCloud, output: Output, ms: number): void {
  const paths = statePaths(settings);
  const { tint } = output;
  const facts: readonly (readonly [string, string])[] = [
    ['EC2', cloud.endpoints.ec2],
    ['S3', cloud.endpoints.s3],
    ['hypervisor', [cloud.hypervisor.kind, ...(cloud.hypervisor.notice === undefined ? [] : [`(${oneLine(cloud.hypervisor.notice)})`])].join(' ')],
    ['keys', `${paths.novarc}, ${paths.s3cfg}`],
    ['log', paths.log],
  ];
  output.line(`${tint('green', 'novact is ready')} after ${(ms / 1_000).toFixed(1)} s: EC2 at ${cloud.endpoints.ec2} S3 at ${cloud.endpoints.s3}`);
  for (const [name, value] of facts) output.line(`  ${tint('dim', name.padEnd(10))}  ${value}`);
  output.line('Try, in another terminal:');
  for (const command of ['bin/novact try', `. ${paths.novarc} && aws ec2 describe-images`, `s3cmd -c ${paths.s3cfg} mb s3://first`]) {
    output.line(`  ${tint('cyan', command)}`);
  }
  output.line(tint('dim', 'Ctrl-C stops it; guests go on and are adopted by the next start.'));
}
