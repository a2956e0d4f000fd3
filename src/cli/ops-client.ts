// Asks the running novact of a state folder, through its ops server.
import { readFile } from 'node:fs/promises';
import type { ActorRow, CloudStatus, Explanation, HealthCheck } from '../api/ops/source.ts';
import { statePaths, type Settings } from '../config/settings.ts';
import { messageOf, SetupError } from '../lib/errors.ts';
import { NotRunning } from './output.ts';
import { stateOwner } from './state-folder.ts';

/** What /status answers: the cloud's part is absent while it starts. */
export interface StatusAnswer extends Partial<CloudStatus> {
  readonly version: string;
  readonly pid: number;
  readonly since: string;
  readonly isReady: boolean;
  readonly state: string;
  readonly database: string;
  readonly hypervisor?: string;
  readonly endpoints?: Readonly<Record<string, string>>;
  readonly health?: readonly HealthCheck[];
}

export interface OpsClient {
  status(): Promise<StatusAnswer>;
  actors(): Promise<readonly ActorRow[]>;
  /** Undefined: no such resource. */
  explain(id: string): Promise<Explanation | undefined>;
}

const timeoutMs = 10_000;

/** Throws NotRunning when nobody owns the state folder. */
export async function connectOps(settings: Settings): Promise<OpsClient> {
  const owner = await stateOwner(settings);
  if (owner === undefined) throw new NotRunning(`no novact is running on ${settings.state}`);
  const base = `http://127.0.0.1:${owner.notes['opsPort'] ?? settings.opsPort}`;
  const token = await tokenOf(settings);
  const get = async (path: string): Promise<unknown> => {
    const response = await request(base + path, token);
    if (response.status === 404) return undefined;
    if (response.ok) return response.json();
    throw new Error(`${base}${path} answered ${response.status}: ${(await response.text()).slice(0, 300)}`);
  };
  return {
    status: async () => (await get('/status')) as StatusAnswer,
    actors: async () => (await get('/actors')) as readonly ActorRow[],
    explain: async (id) => (await get(`/explain/${encodeURIComponent(id)}`)) as Explanation | undefined,
  };
}

async function request(url: string, token: string): Promise<Response> {
  try {
    return await fetch(url, { headers: { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(timeoutMs) });
  } catch (cause) {
    throw new Error(`the running novact does not answer at ${url}: ${messageOf(cause)}`, { cause });
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
