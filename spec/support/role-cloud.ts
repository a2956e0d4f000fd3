// A cloud of role processes on simulated guests: two hosts with all that a host runs, two APIs behind one address, two schedulers and one
// objectstore, on a PostgreSQL and a Redis of their own. And clients that use it without pause while something is done to it.
import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openDatabase, type OpenDatabase } from '../../src/db/connect.ts';
import { createPlainEc2, textsOf, type PlainEc2 } from './plain-ec2.ts';
import { waitFor } from './patience.ts';
import { prepareRole, startSharedServices, type RoleProcess, type SharedServices } from './role-process.ts';
import { freePort } from './free-port.ts';
import { startFront, type TcpFront } from './tcp-front.ts';

export interface RoleCloud {
  readonly services: SharedServices;
  readonly roles: readonly RoleProcess[];
  readonly ec2: PlainEc2;
  readonly imageId: string;
  readonly database: OpenDatabase;
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

const layout = [
  ['network', 'h1'], ['network', 'h2'], ['objectstore', 'h1'], ['compute', 'h1'], ['compute', 'h2'],
  ['scheduler', 'h1'], ['scheduler', 'h2'], ['api', 'h1'], ['api', 'h2'],
] as const;

export async function startRoleCloud(name: string): Promise<RoleCloud> {
  const services = await startSharedServices({ name });
  const roles: RoleProcess[] = [];
  let front: TcpFront | undefined;
  let database: OpenDatabase | undefined;
  const close = async () => {
    await Promise.all(roles.map((role) => role.kill9()));
    await front?.close();
    await database?.close();
    await services.close();
  };
  try {
    const s3Port = String(await freePort());
    const common = { NOVACT_S3_PORT: s3Port, NOVACT_S3_URL: `http://127.0.0.1:${s3Port}`, NOVACT_SERVICE_DOWN_SECONDS: '10' };
    for (const [role, host] of layout) roles.push(await prepareRole({ role, host, settings: { ...services.host(host), ...common } }));
    await Promise.all(roles.map((role) => role.start()));
    front = await startFront(roles.filter(({ role }) => role === 'api').map(({ settings }) => Number(settings['NOVACT_API_PORT'])));
    database = await openDatabase(services.databaseUrl, { connectionsMax: 2 });
    const keys = await services.novarc('h1');
    const ec2 = createPlainEc2({
      url: front.url, region: keys['AWS_REGION'] ?? '', accessKeyId: keys['AWS_ACCESS_KEY_ID'] ?? '', secretAccessKey: keys['AWS_SECRET_ACCESS_KEY'] ?? '',
    });
    const found = await ec2.call('DescribeImages', { 'Filter.1.Name': 'name', 'Filter.1.Value.1': 'novact-tiny' });
    const imageId = textsOf(found.text, 'imageId')[0] ?? '';
    return {
      services, roles, ec2, database, imageId, close,
      complaints: () => complaintsIn(services.folder), linesWith: (text) => linesWith(services.folder, text),
    };
  } catch (error) {
    await close();
    throw error;
  }
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
