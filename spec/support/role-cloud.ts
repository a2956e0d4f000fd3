// A cloud of role processes on simulated guests: two hosts with all that a host runs, two APIs behind one address, two schedulers and one
// objectstore (or what else is wished), on a PostgreSQL and a Redis of their own. And clients that use it without pause while something is done to it.
import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import type { RoleName } from '../../src/config/options.ts';
import { connectPostgres, type OpenDatabase } from '../../src/db/connect.ts';
import type { Db } from '../../src/db/db.ts';
import * as schema from '../../src/db/schema/all.ts';
import type { ReleaseBuild } from './kept-release.ts';
import { createPlainEc2, textsOf, type PlainEc2 } from './plain-ec2.ts';
import { createPlainS3, type PlainS3 } from './plain-s3.ts';
import { waitFor } from './patience.ts';
import { prepareRole, startSharedServices, type RoleProcess, type SharedServices } from './role-process.ts';
import { freePort } from './free-port.ts';
import { startFront, type TcpFront } from './tcp-front.ts';

export interface RoleCloud {
  readonly services: SharedServices;
  readonly roles: readonly RoleProcess[];
  readonly ec2: PlainEc2;
  readonly s3: PlainS3;
  readonly imageId: string;
  /** With the schema that the roles have made: nothing is brought up to date here. */
  readonly database: Pick<OpenDatabase, 'db' | 'close'>;
  /** What the roles logged as worse than usual, the newest last. */
  complaints(): Promise<string>;
  /** The lines of all processes' logs that have this text in them. */
  linesWith(text: string): Promise<readonly LogLine[]>;
  close(): Promise<void>;
}

/** A line of a role's log, with the role and the host of the process that wrote it. */
export interface LogLine extends Readonly<Record<string, unknown>> {
  readonly by: { readonly role: string; readonly host: string };
  readonly msg: string;
}

export interface RoleCloudOptions {
  /** A role and the host of each process. An API on h1 and an objectstore must be among them. */
  readonly layout?: readonly (readonly [RoleName, string])[];
  /** All are of this release. Default: of today. */
  readonly release?: ReleaseBuild;
  /** After which a silent host counts as down. Default 10. */
  readonly serviceDownSeconds?: number;
}

const layoutDefault = [
  ['network', 'h1'], ['network', 'h2'], ['objectstore', 'h1'], ['compute', 'h1'], ['compute', 'h2'],
  ['scheduler', 'h1'], ['scheduler', 'h2'], ['api', 'h1'], ['api', 'h2'],
] as const;

export async function startRoleCloud(name: string, options: RoleCloudOptions = {}): Promise<RoleCloud> {
  const { layout = layoutDefault, release, serviceDownSeconds = 10 } = options;
  const services = await startSharedServices({ name });
  const roles: RoleProcess[] = [];
  const fronts: TcpFront[] = [];
  let database: RoleCloud['database'] | undefined;
  const close = async () => {
    await Promise.all(roles.map((role) => role.kill9()));
    for (const front of fronts) await front.close();
    await database?.close();
    await services.close();
  };
  try {
    const plan = await Promise.all(layout.map(async ([role, host]) => ({ role, host, port: await freePort() })));
    const front = async (role: RoleName): Promise<string> => {
      const started = await startFront(plan.filter((one) => one.role === role).map(({ port }) => port));
      fronts.push(started);
      return started.url;
    };
    const [ec2Url, s3Url] = [await front('api'), await front('objectstore')];
    for (const { role, host, port } of plan) {
      const settings = {
        ...services.host(host), NOVACT_S3_URL: s3Url, NOVACT_SERVICE_DOWN_SECONDS: String(serviceDownSeconds),
        ...(role === 'api' ? { NOVACT_API_PORT: String(port) } : {}), ...(role === 'objectstore' ? { NOVACT_S3_PORT: String(port) } : {}),
      };
      roles.push(await prepareRole({ role, host, settings }));
    }
    await Promise.all(roles.map((role) => role.start(release)));
    database = lookAt(services.databaseUrl);
    const keys = await services.novarc('h1');
    const client = { region: keys['AWS_REGION'] ?? '', accessKeyId: keys['AWS_ACCESS_KEY_ID'] ?? '', secretAccessKey: keys['AWS_SECRET_ACCESS_KEY'] ?? '' };
    const [ec2, s3] = [createPlainEc2({ ...client, url: ec2Url }), createPlainS3({ ...client, url: s3Url })];
    const found = await ec2.call('DescribeImages', { 'Filter.1.Name': 'name', 'Filter.1.Value.1': 'novact-tiny' });
    const imageId = textsOf(found.text, 'imageId')[0] ?? '';
    return {
      services, roles, ec2, s3, database, imageId, close,
      complaints: () => complaintsIn(services.folder), linesWith: (text) => linesWith(services.folder, text),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function lookAt(url: string): RoleCloud['database'] {
  const client = connectPostgres(url, 2);
  return { db: drizzle(client, { schema }) as unknown as Db, close: () => client.end({ timeout: 5 }) };
}

/** What a cloud without instances must not have. */
async function leftoversOf({ database }: RoleCloud): Promise<readonly unknown[]> {
  const rows = (await database.db.execute(sql`
    select 'operations' as what, count(*)::int as count from operations where state not in ('done', 'failed')
    union all select 'instances', count(*)::int from instances where state <> 'terminated'
    union all select 'claims', coalesce(sum(claimed_cores + claimed_memory_mib + claimed_disk_gib), 0)::int from hosts
    union all select 'addresses', count(*)::int from fixed_addresses where instance_id is not null
    union all select 'outbox', count(*)::int from outbox`)) as unknown as readonly { what: string; count: number }[];
  return rows.filter(({ count }) => count > 0);
}

export const untilNothingIsLeft = (cloud: RoleCloud, timeoutMs: number): Promise<true> => waitFor('nothing is left', { timeoutMs }, async () => {
  const left = await leftoversOf(cloud);
  if (left.length === 0) return true as const;
  throw new Error(JSON.stringify(left));
});

export async function countInstances({ database }: RoleCloud): Promise<number> {
  const [row] = (await database.db.execute(sql`select count(*)::int as count from instances`)) as unknown as { count: number }[];
  return row?.count ?? -1;
}

/** Lines of the logs in a folder that are worse than usual. */
export async function complaintsIn(folder: string): Promise<string> {
  const names = (await readdir(folder, { recursive: true })).filter((name) => /novact-[a-z]+\.log$/.test(name));
  const lines = await Promise.all(names.map(async (name) => (await readFile(join(folder, name), 'utf8')).split('\n')
    .filter((line) => /"level":(40|50|60)/.test(line)).slice(-15).map((line) => `${name}: ${line.slice(0, 600)}`)));
  return lines.flat().join('\n');
}

async function linesWith(folder: string, text: string): Promise<LogLine[]> {
  const names = (await readdir(folder, { recursive: true })).filter((name) => /novact-[a-z]+\.log$/.test(name));
  const lines = await Promise.all(names.map(async (name) => (await readFile(join(folder, name), 'utf8')).split('\n')
    .filter((line) => line.includes(text))
    .map((line) => ({ ...JSON.parse(line), by: { role: /novact-([a-z]+)\.log$/.exec(name)?.[1] ?? '', host: name.split('/')[0] ?? '' } }) as LogLine)));
  return lines.flat();
}

export interface Clients {
  /** Calls that failed, in words. */
  readonly failures: readonly string[];
  /** Instances that were launched, with the states they were seen in. */
  readonly launched: ReadonlyMap<string, readonly string[]>;
  /** Calls that were answered. */
  calls(): number;
  /** Resolves when all of them have come to the end of what they were doing. */
  stop(): Promise<void>;
}

export interface ClientsOptions {
  readonly count: number;
  /** Calls that fail are repeated, with the same client token. */
  readonly retries: boolean;
  /** How long an instance may need for each change of state. */
  readonly patienceMs: number;
}

/** Each launches an instance, waits until it runs, terminates it, waits until it has ended, and begins again. */
export function startClients(cloud: RoleCloud, options: ClientsOptions): Clients {
  const failures: string[] = [];
  const launched = new Map<string, string[]>();
  let answered = 0;
  const stopping = new AbortController();
  const run = randomUUID();
  const call = async (action: string, parameters: Record<string, string>): Promise<string> =>
    waitFor(action, { timeoutMs: options.retries ? options.patienceMs : 0, pollMs: 200 }, async () => {
      const answer = await cloud.ec2.call(action, parameters).catch((error: unknown) => ({ status: 0, text: '', code: String(error) }));
      if (answer.status === 200) {
        answered += 1;
        return answer.text;
      }
      failures.push(`${action}: ${answer.status} ${answer.code}`);
      throw new Error(failures.at(-1));
    });
  const untilState = (id: string, wanted: string) => waitFor(`${id} ${wanted}`, { timeoutMs: options.patienceMs, pollMs: 150 }, async () => {
    const [state] = textsOf(/<instanceState>.*?<\/instanceState>/s.exec(await call('DescribeInstances', { 'InstanceId.1': id }))?.[0] ?? '', 'name');
    const seen = launched.get(id);
    if (state !== undefined && seen?.at(-1) !== state) seen?.push(state);
    return state === wanted ? true : undefined;
  });
  const work = async (client: number): Promise<void> => {
    for (let turn = 0; !stopping.signal.aborted; turn += 1) {
      const answer = await call('RunInstances', {
        ImageId: cloud.imageId, InstanceType: 't2.nano', MinCount: '1', MaxCount: '1', ClientToken: `${run}-${client}-${turn}`,
      });
      const [id = ''] = textsOf(answer, 'instanceId');
      launched.set(id, launched.get(id) ?? []);
      await untilState(id, 'running');
      await call('TerminateInstances', { 'InstanceId.1': id });
      await untilState(id, 'terminated');
    }
  };
  const done = Promise.all(Array.from({ length: options.count }, (_, index) => work(index)));
  done.catch(() => undefined);
  return {
    failures, launched, calls: () => answered,
    async stop() {
      stopping.abort();
      await done;
    },
  };
}
