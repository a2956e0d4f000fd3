// `novact up`, the whole cloud in the foreground, and `novact role NAME`, one part of it. Everything that can be wrong with the machine is
// said before anything is changed; Ctrl-C or SIGTERM ends it cleanly and leaves the guests running.
import { startOpsServer } from '../api/ops/server.ts';
import { environmentKey, type OptionName, type RoleName } from '../config/options.ts';
import type { LoadedSettings } from '../config/load.ts';
import { roleLog, statePaths, type Settings } from '../config/settings.ts';
import { systemClock } from '../lib/clock.ts';
import { messageOf, SetupError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import type { RunningCloud, StartCloud } from './cloud.ts';
import { writeCredentials } from './credentials.ts';
import { openChosenDatabase, type ChosenDatabase } from './database.ts';
import { bindProblem, checkHost } from './host-checks.ts';
import { exitCodes, type Output } from './output.ts';
import { sayReady } from './say-ready.ts';
import { ensureOpsToken, isSupervised, lockRole, lockState, prepareStateFolder, rememberSettings } from './state-folder.ts';
import { version } from './version.ts';

export interface UpOptions {
  readonly loaded: LoadedSettings;
  readonly output: Output;
  readonly startCloud: StartCloud;
  /** The one role to run; absent: all of them. */
  readonly role?: RoleName | undefined;
  /** Resolves with the name of the signal that asks for the end. A second one ends at once. */
  readonly ended: Promise<string>;
}

/** Closers, run backwards. */
export type Closers = (() => Promise<unknown>)[];

/** Returns the exit code when the cloud has stopped. */
export async function up({ loaded, output, startCloud, role, ended }: UpOptions): Promise<number> {
  const { settings } = loaded;
  const closers: Closers = [];
  const startedAt = performance.now();
  banner(loaded, output, role);
  try {
    checkTogether(settings, role);
    await checkHost(settings, role);
    await prepareStateFolder(settings);
    const lock = role === undefined ? await lockState(settings, systemClock, 'up') : await lockRole(settings, systemClock, role);
    closers.push(() => lock.release());
    await checkPorts(settings, role);
    if (!isSupervised()) await rememberSettings(settings);
    const { fatal, onFatal } = watchForDeath();
    const cloud = await Promise.race([start(settings, { output, startCloud, role, closers, onFatal }), fatal, interrupted(ended)]);
    sayReady(settings, cloud, { output, role, ms: performance.now() - startedAt });
    const signal = await Promise.race([ended, fatal]);
    output.line(`${signal}: stopping${role === undefined || role === 'compute' ? '; guests go on' : ''}`);
    return exitCodes.done;
  } finally {
    await closeAll(closers, output);
  }
}

/** The promise rejects with the first error that nothing can go on after. */
export function watchForDeath(): { fatal: Promise<never>; onFatal: (error: unknown) => void } {
  const listeners: ((error: unknown) => void)[] = [];
  const fatal = new Promise<never>((_, reject) => void listeners.push(reject));
  fatal.catch(() => undefined);
  return { fatal, onFatal: (error) => listeners.forEach((listener) => listener(error)) };
}

interface StartContext {
  readonly output: Output;
  readonly startCloud: StartCloud;
  readonly role: RoleName | undefined;
  readonly closers: Closers;
  readonly onFatal: (error: unknown) => void;
}

async function start(settings: Settings, { output, startCloud, role, closers, onFatal }: StartContext): Promise<RunningCloud> {
  const log = createLog({ level: settings.logLevel, file: role === undefined ? statePaths(settings).log : roleLog(settings, role) });
  closers.push(() => new Promise<void>((resolve) => log.flush(() => resolve())));
  const since = systemClock.date().toISOString();
  let cloud: RunningCloud | undefined;
  let database: ChosenDatabase | undefined;
  const facts = () => ({
    version: version(), pid: process.pid, since, state: settings.state, role, host: settings.host,
    database: database?.label ?? 'starting', hypervisor: cloud?.hypervisor?.kind, endpoints: cloud?.endpoints,
  });
  const ops = await startOpsServer({ port: settings.opsPort, token: await ensureOpsToken(settings), log, facts, source: () => cloud });
  closers.push(() => ops.close());
  const say = (text: string) => output.line(`  ${output.tint('dim', '·')} ${text}`);
  database = await openChosenDatabase(settings, { log, onFatal });
  closers.push(database.stop);
  say(`database: ${database.label}`);
  if (database.notice !== undefined) say(output.tint('yellow', database.notice));
  const running = await startCloud({ ...settings, databaseUrl: database.url }, { log, version: version(), role, onProgress: say, onFatal });
  closers.push(() => running.stop());
  cloud = running;
  if (running.founder !== undefined) await writeCredentials(settings, running.endpoints, running.founder, running.certificates);
  return running;
}

export async function closeAll(closers: Closers, output: Output): Promise<void> {
  for (const close of closers.splice(0).toReversed()) {
    try {
      await close();
    } catch (error) {
      output.note(`  while stopping: ${messageOf(error)}`);
    }
  }
}

export async function interrupted(ended: Promise<string>): Promise<never> {
  throw new Interrupted(await ended);
}

/** Ctrl-C before everything was up. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** A server would say so too, but only after the database and half of the roles were started. */
export async function checkPorts(settings: Settings, role: RoleName | undefined): Promise<void> {
  const wanted: readonly (readonly [OptionName, string])[] = [
    ...(role === undefined || role === 'api' ? [['apiPort', settings.bind] as const] : []),
    ...(role === undefined || role === 'objectstore' ? [['s3Port', settings.bind] as const] : []),
    ['opsPort', '127.0.0.1'],
  ];
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

/** A role that is alone in its process needs what all processes of the cloud share. */
function checkTogether({ databaseUrl, redisUrl }: Settings, role: RoleName | undefined): void {
  if (role === undefined) return;
  const isShared = databaseUrl !== undefined && !databaseUrl.startsWith('pglite:');
  if (isShared && redisUrl !== undefined) return;
  const lacking = [
    ...(isShared ? [] : ['NOVACT_DATABASE_URL=postgres://… (PGlite is for one process)']), ...(redisUrl === undefined ? ['NOVACT_REDIS_URL=redis://…'] : []),
  ];
  throw new SetupError(
    `novact-${role} is one process of several: they need a PostgreSQL and a Redis that all of them reach`,
    `Set ${lacking.join(' and ')} (docs/guide/many-hosts.md). All in one process: bin/novact up; all on this machine: bin/novact up --services.`,
  );
}

export function banner({ settings, notices }: LoadedSettings, output: Output, role: RoleName | undefined): void {
  output.line(`${output.tint('bold', `novact${role === undefined ? '' : `-${role}`} ${version()}`)}  ${settings.state}`);
  for (const notice of notices) output.line(`  ${output.tint('yellow', notice)}`);
}
