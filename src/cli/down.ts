// `novact down`: asks the running novact to stop and waits for it; with --purge, guests, bridges, rules, database and files go as well.
import { readdir, rm, rmdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { statePaths, type Settings } from '../config/settings.ts';
import { createRedisService } from '../drivers/redis/server.ts';
import { systemClock, type Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import { createRun } from '../lib/exec.ts';
import { createLog, silentLog } from '../lib/log.ts';
import type { PurgeCloud } from './cloud.ts';
import { databaseFolders, openChosenDatabase } from './database.ts';
import type { Output } from './output.ts';
import { isLockFile, lastSettings, lockState, stateOwners, type StateOwner } from './state-folder.ts';
import { version } from './version.ts';

export interface DownOptions {
  readonly settings: Settings;
  readonly output: Output;
  readonly clock: Clock;
  readonly purgeCloud: PurgeCloud;
}

const stopTimeoutMs = 60_000;

/** After: no novact runs on this state folder. Not an error if none did. */
export async function stopRunning({ settings, output, clock }: Omit<DownOptions, 'purgeCloud'>): Promise<void> {
  const owners = await stateOwners(settings);
  if (owners.length === 0) return output.line(`no novact is running on ${settings.state}`);
  // A supervisor ends its own roles, one after another: a role that somebody else ends it would start again.
  const asked = owners.some(({ role }) => role === undefined) ? owners.filter(({ role }) => role === undefined) : owners;
  for (const { holder } of asked) process.kill(holder.pid, 'SIGTERM');
  const deadline = clock.now() + stopTimeoutMs;
  const isLeft = (one: StateOwner, now: readonly StateOwner[]) => now.some(({ holder }) => holder.pid === one.holder.pid);
  for (let now = owners; asked.some((one) => isLeft(one, now)); now = await stateOwners(settings)) {
    if (clock.now() > deadline) {
      const pids = asked.filter((one) => isLeft(one, now)).map(({ holder }) => holder.pid).join(' ');
      throw new Error(`process ${pids} does not end after ${stopTimeoutMs / 1_000} s; see the logs in ${settings.state}, or end it: kill -9 ${pids}`);
    }
    await clock.sleep(100);
  }
  for (const { holder, role } of asked) output.line(`stopped process ${holder.pid}${role === undefined ? '' : ` (novact-${role})`}`);
  output.line('guests go on');
}

/** After: nothing of this cloud is left on the machine. Repeatable, also after it was cut short. */
export async function purge(options: DownOptions): Promise<void> {
  const { output, clock } = options;
  await stopRunning(options);
  const settings = await lastSettings(options.settings);
  if (!(await exists(settings.state))) return output.line(`there is no ${settings.state}`);
  const lock = await lockState(settings, clock, 'down --purge');
  try {
    await endPrivateRedis(settings);
    await purgeHost({ ...options, settings });
    await removeState(settings, output);
  } finally {
    await lock.release();
  }
  await rm(`${statePaths(settings).lock}.guard`, { force: true });
  await rmdir(settings.state).catch(() => undefined); // Something else lies there: it was told, and it stays.
}

/** It outlives a supervisor that was killed. */
async function endPrivateRedis(settings: Settings): Promise<void> {
  const directory = statePaths(settings).redis;
  if (!(await exists(directory))) return;
  await createRedisService({ directory, run: createRun({ log: silentLog }), log: silentLog, clock: systemClock }).stop();
}

/** The database knows what belongs to this cloud; without one there is nothing that it could have made. */
async function purgeHost({ settings, output, purgeCloud }: DownOptions): Promise<void> {
  const isThere = settings.databaseUrl !== undefined || (await Promise.all(databaseFolders(settings).map(exists))).includes(true);
  if (!isThere) return;
  const log = createLog({ level: settings.logLevel, file: statePaths(settings).log });
  const database = await openChosenDatabase(settings, { log, onFatal: (error) => output.note(messageOf(error)) });
  try {
    await purgeCloud({ ...settings, databaseUrl: database.url }, { log, version: version(), onProgress: (text) => output.line(`  ${text}`) });
  } finally {
    await database.stop();
  }
  if (settings.databaseUrl !== undefined && !settings.databaseUrl.startsWith('pglite:')) {
    output.line('  the database you named with NOVACT_DATABASE_URL is left as it is: drop it yourself if you want it gone');
  }
}

/** Only what novact put there: the folder may have been chosen carelessly. */
async function removeState(settings: Settings, output: Output): Promise<void> {
  const { lock, ...own } = statePaths({ state: settings.state }); // A master key that lies elsewhere is not novact's to remove.
  for (const path of Object.values(own)) await rm(path, { recursive: true, force: true });
  const named = settings.databaseUrl;
  if (named?.startsWith('pglite:/') === true) await rm(named.slice('pglite:'.length), { recursive: true, force: true });
  for (const name of await readdir(settings.state)) {
    const isRoles = /^novact-[a-z]+\.log$/.test(name) || (isLockFile(settings, name) && !name.startsWith(basename(lock)));
    if (isRoles) await rm(join(settings.state, name), { force: true });
  }
  const left = (await readdir(settings.state)).filter((name) => !isLockFile(settings, name));
  if (left.length === 0) output.line(`  removed ${settings.state}`);
  else output.line(`  left in ${settings.state}, as novact did not put it there: ${left.map((name) => join(settings.state, name)).join(', ')}`);
}

const exists = (path: string): Promise<boolean> => stat(path).then(() => true, () => false);
