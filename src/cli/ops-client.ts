// Asks the novact that runs on a state folder, through its ops servers: one process, or one for each role.
import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import type { ManageAnswer, ManageRequest } from '../api/ops/perform-manage.ts';
import type { ActorRow, CloudStatus, Explanation, HealthCheck } from '../api/ops/source.ts';
import { statePaths, type Settings } from '../config/settings.ts';
import { messageOf, SetupError } from '../lib/errors.ts';
import { NotRunning } from './output.ts';
import { servicesCommand, stateOwners, type StateOwner } from './state-folder.ts';

/** What /status answers: the cloud's part is absent while it starts. */
export interface StatusAnswer extends Partial<CloudStatus> {
  readonly version: string;
  readonly pid: number;
  readonly since: string;
  readonly isReady: boolean;
  readonly state: string;
  readonly role?: string;
  readonly host?: string;
  readonly database: string;
  readonly hypervisor?: string;
  readonly endpoints?: Readonly<Record<string, string>>;
  readonly health?: readonly HealthCheck[];
}

/** A process on this state folder; `answer` is absent when its ops server does not answer. */
export interface ProcessStatus {
  readonly role: string;
  readonly pid: number;
  readonly opsPort: string;
  readonly answer?: StatusAnswer;
  readonly error?: string;
}

export interface OpsClient {
  /** Of every process, in the order of roles. */
  processes(): Promise<readonly ProcessStatus[]>;
  actors(): Promise<readonly ActorRow[]>;
  /** Undefined: no such resource. */
  explain(id: string): Promise<Explanation | undefined>;
  /** By the first process that answers. */
  manage(request: ManageRequest): Promise<ManageAnswer>;
}

const timeoutMs = 10_000;
/** Evacuating a host or moving a guest answers when it is recorded, not when it is done; still, databases can be slow. */
const manageTimeoutMs = 120_000;

/** Throws NotRunning when nobody owns the state folder. */
export async function connectOps(settings: Settings): Promise<OpsClient> {
  const owners = (await stateOwners(settings)).filter(({ holder }) => holder.notes['command'] !== servicesCommand);
  if (owners.length === 0) throw new NotRunning(`no novact is running on ${settings.state}`);
  const token = await tokenOf(settings);
  const ask = (owner: StateOwner, path: string, body?: unknown) => askOne(`http://127.0.0.1:${portOf(owner, settings)}${path}`, token, body);
  return {
    processes: () => Promise.all(owners.map(async (owner): Promise<ProcessStatus> => {
      const facts = { role: owner.role ?? 'all', pid: owner.holder.pid, opsPort: portOf(owner, settings) };
      try {
        return { ...facts, answer: (await ask(owner, '/status')) as StatusAnswer };
      } catch (error) {
        if (owners.length === 1) throw error;
        return { ...facts, error: messageOf(error) };
      }
    })),
    actors: async () => (await Promise.all(owners.map(async (owner) => {
      const rows = (await ask(owner, '/actors')) as readonly ActorRow[];
      return owner.role === undefined ? rows : rows.map((row) => ({ ...row, path: `/${owner.role}-${owner.holder.pid}${row.path}` }));
    }))).flat(),
    explain: (id) => firstThatAnswers(owners, (owner) => ask(owner, `/explain/${encodeURIComponent(id)}`) as Promise<Explanation | undefined>),
    manage: (wanted) => firstThatAnswers(owners, (owner) => ask(owner, '/manage', { ...wanted, by: account() }) as Promise<ManageAnswer>),
  };
}

/** Who commands, for the audit log: `root`, `ann as root`. Undefined: nobody of whom the machine has a name. */
function account(): string | undefined {
  try {
    const { username } = userInfo();
    const behind = process.env['SUDO_USER'];
    return (behind === undefined || behind === username ? username : `${behind} as ${username}`).slice(0, 64);
  } catch {
    return undefined; // A user id without an account, as in some containers.
  }
}

const portOf = ({ holder }: StateOwner, settings: Settings): string => holder.notes['opsPort'] ?? String(settings.opsPort);

/** A process that does not answer is no reason to fail while another does. What was answered, be it a refusal, counts. */
async function firstThatAnswers<T>(owners: readonly StateOwner[], ask: (owner: StateOwner) => Promise<T>): Promise<T> {
  let failure: unknown;
  for (const owner of owners) {
    try {
      return await ask(owner);
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      failure ??= error;
    }
  }
  throw failure;
}

/** Nobody listens there, or it is still starting: nothing was done. */
class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/** Undefined: there is no such thing. */
async function askOne(url: string, token: string, body: unknown): Promise<unknown> {
  const response = await request(url, token, body);
  if (response.status === 404) return undefined;
  if (response.ok) return response.json();
  const text = `${url} answered ${response.status}: ${(await response.text()).slice(0, 300)}`;
  throw response.status === 503 ? new NoAnswer(text) : new Error(text);
}

async function request(url: string, token: string, body: unknown): Promise<Response> {
  const headers = { authorization: `Bearer ${token}` };
  try {
    if (body === undefined) return await fetch(url, { headers, signal: AbortSignal.timeout(timeoutMs) });
    return await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), signal: AbortSignal.timeout(manageTimeoutMs) });
  } catch (cause) {
    const refused = cause instanceof Error && (cause.cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED';
    const text = `the running novact does not answer at ${url}: ${messageOf(cause)}`;
    throw refused || body === undefined ? new NoAnswer(text, { cause }) : new Error(`${text}; whether it was done is not known`, { cause });
  }
}

async function tokenOf(settings: Settings): Promise<string> {
  const path = statePaths(settings).opsToken;
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (cause) {
    throw new SetupError(`cannot read ${path}: ${messageOf(cause)}`, 'Run it as the user who started novact.', { cause });
  }
}
