// `novact up --services`: the distributed form of the cloud on one machine. A private PostgreSQL and a private Redis, or those that the
// settings name, and every role as a process of its own under one supervisor.
import { fileURLToPath } from 'node:url';
import { environmentKey, opsPortOf, optionNames, type RoleName } from '../config/options.ts';
import type { LoadedSettings } from '../config/load.ts';
import { endpointsOf, statePaths, type Settings } from '../config/settings.ts';
import { createRedisService } from '../drivers/redis/server.ts';
import { systemClock } from '../lib/clock.ts';
import { SetupError } from '../lib/errors.ts';
import { createRun } from '../lib/exec.ts';
import { createLog, type Log } from '../lib/log.ts';
import { openChosenDatabase } from './database.ts';
import { checkHost } from './host-checks.ts';
import { exitCodes, type Output } from './output.ts';
import { sayReady } from './say-ready.ts';
import { ensureOpsToken, lockState, prepareStateFolder, rememberSettings, servicesCommand } from './state-folder.ts';
import { createSupervisor, type Program } from './supervisor.ts';
import { banner, checkPorts, closeAll, interrupted, watchForDeath, type Closers } from './up.ts';

export interface ServicesOptions {
  readonly loaded: LoadedSettings;
  readonly output: Output;
  /** Resolves with the name of the signal that asks for the end. A second one ends at once. */
  readonly ended: Promise<string>;
}

/** Longer than the drain of a role. */
const stopMsMax = 50_000;
/** Ten for each role, and some for whoever looks. */
const connectionsMax = 90;
/** Ended backwards: first who takes new requests. */
const order: readonly RoleName[] = ['network', 'volume', 'compute', 'scheduler', 'objectstore', 'api'];

/** Returns the exit code when everything has stopped. */
export async function upServices({ loaded, output, ended }: ServicesOptions): Promise<number> {
  const { settings } = loaded;
  const closers: Closers = [];
  const startedAt = performance.now();
  banner(loaded, output, undefined);
  try {
    refuseTrialDatabase(settings);
    await checkHost(settings);
    await prepareStateFolder(settings);
    const lock = await lockState(settings, systemClock, servicesCommand);
    closers.push(() => lock.release());
    await checkPorts(settings, undefined);
    await rememberSettings(settings);
    await ensureOpsToken(settings);
    const { fatal, onFatal } = watchForDeath();
    await Promise.race([start(loaded, { output, closers, onFatal }), fatal, interrupted(ended)]);
    const { ec2, s3 } = endpointsOf(settings);
    const cloud = { endpoints: { ec2: `${ec2}/`, s3 }, hypervisor: { kind: settings.hypervisor, notice: undefined } };
    sayReady(settings, cloud, { output, role: undefined, ms: performance.now() - startedAt });
    output.line(`${await Promise.race([ended, fatal])}: stopping; guests go on`);
    return exitCodes.done;
  } finally {
    await closeAll(closers, output);
  }
}

function refuseTrialDatabase({ databaseUrl }: Settings): void {
  if (databaseUrl?.startsWith('pglite:') !== true) return;
  throw new SetupError('PGlite is for one process, and --services is for many', 'Leave out NOVACT_DATABASE_URL, or name a PostgreSQL.');
}

interface Context {
  readonly output: Output;
  readonly closers: Closers;
  readonly onFatal: (error: unknown) => void;
}

async function start(loaded: LoadedSettings, { output, closers, onFatal }: Context): Promise<void> {
  const { settings } = loaded;
  const log = createLog({ level: settings.logLevel, file: statePaths(settings).log });
  closers.push(() => new Promise<void>((resolve) => log.flush(() => resolve())));
  const say = (text: string) => output.line(`  ${output.tint('dim', '·')} ${text}`);
  const database = await openChosenDatabase(settings, { log, onFatal, connectionsMax });
  closers.push(database.stop);
  if (database.url.startsWith('pglite:')) throw new SetupError('--services needs PostgreSQL', 'apt-get install -y --no-install-recommends postgresql-15');
  say(`database: ${database.label}`);
  const redis = await openRedis(settings, { log, onFatal });
  closers.push(redis.stop);
  say(`mailboxes: ${redis.label}`);
  const supervisor = createSupervisor({ clock: systemClock, log, stopMsMax, onEvent: (name, text) => say(`${name} ${text}`) });
  closers.push(() => supervisor.stop());
  say(`roles: ${order.map((role) => `novact-${role}`).join(', ')}`);
  await supervisor.start(order.map((role) => programOf(loaded, role, { databaseUrl: database.url, redisUrl: redis.url })));
}

async function openRedis(
  settings: Settings, { log, onFatal }: { log: Log; onFatal: (error: unknown) => void },
): Promise<{ url: string; label: string; stop: () => Promise<void> }> {
  if (settings.redisUrl !== undefined) return { url: settings.redisUrl, label: 'the Redis that is named', stop: () => Promise.resolve() };
  const service = createRedisService({
    directory: statePaths(settings).redis, run: createRun({ log }), log, clock: systemClock, onFailed: onFatal,
  });
  const { url, how } = await service.start();
  return { url, label: `private Redis (${how})`, stop: () => service.stop() };
}

/** The same command, with what was resolved here in its environment: secrets do not appear among its arguments. */
function programOf({ settings, origins }: LoadedSettings, role: RoleName, urls: { databaseUrl: string; redisUrl: string }): Program {
  const own = { ...settings, ...urls, opsPort: settings.opsPort + opsPortOf[role] - opsPortOf.api };
  const isGiven = (name: (typeof optionNames)[number]) => origins[name].kind !== 'default' || name in urls || name === 'opsPort' || name === 'state';
  const variables = optionNames.filter(isGiven).flatMap((name) => (own[name] === undefined ? [] : [[environmentKey(name), String(own[name])]]));
  const main = process.argv[1] ?? fileURLToPath(new URL('../../bin/novact', import.meta.url));
  return {
    name: `novact-${role}`,
    command: [process.execPath, ...process.execArgv, main, 'role', role],
    environment: { ...(Object.fromEntries(variables) as Record<string, string>), NOVACT_SUPERVISED: 'yes' },
    readyPattern: new RegExp(`^novact-${role} is ready`, 'm'),
  };
}
