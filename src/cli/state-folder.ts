// The state folder: made and proved writable before anything else, and owned by one process at a time, or by one process for each role.
import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { roleNames, type RoleName } from '../config/options.ts';
import { roleLock, statePaths, type Settings } from '../config/settings.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf, SetupError } from '../lib/errors.ts';
import { acquireLock, LockHeld, lockHolder, type Lock, type LockHolder } from '../lib/lock.ts';

/** After: the folder exists, others may pass through it (guests and the database run under accounts of their own) but not list it. */
export async function prepareStateFolder(settings: Pick<Settings, 'state'>): Promise<void> {
  const remedy = `Choose a folder you may write to (NOVACT_STATE or --state), or run as root.`;
  try {
    await makeFolders(settings.state);
    if (((await stat(settings.state)).mode & 0o777) !== 0o711) await chmod(settings.state, 0o711);
    const probe = join(settings.state, `.probe-${process.pid}`);
    await writeFile(probe, '', { flag: 'w' });
    await rm(probe, { force: true });
  } catch (cause) {
    throw new SetupError(`cannot write to the state folder ${settings.state}: ${messageOf(cause)}`, remedy, { cause });
  }
}

/** mkdir's own `recursive` never returns where a parent exists but takes no folders, as /proc. */
async function makeFolders(path: string): Promise<void> {
  if (await isFolder(path)) return;
  const parent = dirname(path);
  if (!(await isFolder(parent))) await makeFolders(parent);
  try {
    await mkdir(path, { mode: 0o711 });
  } catch (error) {
    if (!(await isFolder(path))) throw error; // the roles of a new host start at once, and another one has made it
  }
}

const isFolder = (path: string): Promise<boolean> => stat(path).then((entry) => entry.isDirectory(), () => false);

/** Keeps what this start was told, for `down --purge`. */
export async function rememberSettings(settings: Settings): Promise<void> {
  const path = statePaths(settings).lastSettings;
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(settings)}\n`, { mode: 0o600 });
  await rename(draft, path);
}

/** The settings of the last start on this state folder; those given where there was none. */
export async function lastSettings(settings: Settings): Promise<Settings> {
  const text = await readFile(statePaths(settings).lastSettings, 'utf8').catch(() => undefined);
  return text === undefined ? settings : { ...settings, ...(JSON.parse(text) as Partial<Settings>), state: settings.state };
}

/** The command whose processes share the folder with the one that supervises them. */
export const servicesCommand = 'up --services';

/** One novact per state folder, beside no role of its own process; a second one is told who has it. */
export async function lockState(settings: Settings, clock: Clock, command: string): Promise<Lock> {
  const lock = await take(settings, statePaths(settings).lock, { clock, notes: { command } });
  await waitForOrphans(settings, clock);
  const [other] = (await stateOwners(settings)).filter((owner) => owner.role !== undefined);
  if (other === undefined) return lock;
  await lock.release();
  throw heldError(settings, new LockHeld(other.path, other.holder));
}

/** One process of a role, beside other roles, but not beside a novact that runs all of them in itself. */
export async function lockRole(settings: Settings, clock: Clock, role: RoleName): Promise<Lock> {
  const notes = { command: `role ${role}`, ...(isSupervised() ? { supervisor: String(process.ppid) } : {}) };
  const lock = await take(settings, roleLock(settings, role), { clock, notes });
  const whole = await stateOwner(settings);
  if (whole === undefined || (whole.notes['command'] === servicesCommand && whole.pid === process.ppid)) return lock;
  await lock.release();
  throw heldError(settings, new LockHeld(statePaths(settings).lock, whole));
}

async function take(settings: Settings, path: string, { clock, notes }: { clock: Clock; notes: Record<string, string> }): Promise<Lock> {
  try {
    return await acquireLock(path, { now: clock.date(), notes: { ...notes, opsPort: String(settings.opsPort) } });
  } catch (error) {
    if (!(error instanceof LockHeld)) throw error;
    throw heldError(settings, error);
  }
}

/** Started by `novact up --services`, and not without it: its standard input is the supervisor's end of a pipe. */
export const isSupervised = (): boolean => process.env['NOVACT_SUPERVISED'] === 'yes';

const orphansMsMax = 60_000;

/** Roles whose supervisor was killed end by themselves. */
async function waitForOrphans(settings: Settings, clock: Clock): Promise<void> {
  const deadline = clock.now() + orphansMsMax;
  while (clock.now() < deadline && (await stateOwners(settings)).some(({ holder }) => holder.notes['supervisor'] !== undefined)) await clock.sleep(100);
}

/** A process that runs on a state folder. */
export interface StateOwner {
  readonly path: string;
  /** Undefined: all roles, or the supervisor of roles. */
  readonly role: RoleName | undefined;
  readonly holder: LockHolder;
}

/** Every novact that runs on this state folder: the whole one first, then the roles by name. */
export async function stateOwners(settings: Settings): Promise<readonly StateOwner[]> {
  const whole = await stateOwner(settings);
  const names = (await readdir(settings.state).catch(() => [])).filter((name) => /^novact-[a-z]+(-\d+)?\.lock$/.test(name)).toSorted();
  const roles = await Promise.all(names.map(async (name) => {
    const path = join(settings.state, name);
    const role = roleNames.find((one) => one === name.split(/[-.]/)[1]);
    const holder = await lockHolder(path).catch(() => undefined); // Not ours, or another machine's: nothing that can be asked.
    return holder === undefined || role === undefined ? [] : [{ path, role, holder }];
  }));
  return [...(whole === undefined ? [] : [{ path: statePaths(settings).lock, role: undefined, holder: whole }]), ...roles.flat()];
}

/** Files of locks, also of those that nobody holds. */
export const isLockFile = (settings: Settings, name: string): boolean =>
  name.startsWith(basename(statePaths(settings).lock)) || /^novact-[a-z]+(-\d+)?\.lock(\.guard|\.draft)?$/.test(name);

function heldError(settings: Settings, error: LockHeld): SetupError {
  const { holder } = error;
  if (holder === undefined) return new SetupError(error.message, `If no novact uses ${settings.state}, remove that file.`, { cause: error });
  const who = `process ${holder.pid}${holder.notes['command'] === undefined ? '' : ` (novact ${holder.notes['command']})`}`;
  return new SetupError(
    `${settings.state} is in use by ${who} on ${holder.host} since ${holder.since}`,
    'Look at it with: bin/novact status. Stop it with: bin/novact down. A second cloud needs a folder and ports of its own (NOVACT_STATE, NOVACT_API_PORT …).',
    { cause: error },
  );
}

/** The process that owns the state folder, if one does. */
export async function stateOwner(settings: Settings): Promise<LockHolder | undefined> {
  try {
    return await lockHolder(statePaths(settings).lock);
  } catch (error) {
    if (error instanceof LockHeld) throw heldError(settings, error);
    throw new SetupError(`cannot read the state folder ${settings.state}: ${messageOf(error)}`, 'Run it as the user who started novact.', { cause: error });
  }
}

/** What opens the ops server's inner pages: made once, readable by the owner only. */
export async function ensureOpsToken(settings: Pick<Settings, 'state'>): Promise<string> {
  const path = statePaths(settings).opsToken;
  const present = await readFile(path, 'utf8').catch(() => '');
  if (/^[A-Za-z0-9_-]{40,}$/.test(present.trim())) return present.trim();
  const token = randomBytes(32).toString('base64url');
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, `${token}\n`, { mode: 0o600 });
  if (present !== '') await rm(path, { force: true }); // Torn by a full disk, or somebody else's text.
  try {
    await link(draft, path);
    return token;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return (await readFile(path, 'utf8')).trim(); // Another role of this host was faster.
  } finally {
    await rm(draft, { force: true });
  }
}
