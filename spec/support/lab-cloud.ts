// A cloud of which some hosts are in the nested guest: their roles run there as an operator starts them, on that kernel and that hypervisor; what needs
// none of it (database, Redis, API, scheduler, objects) runs here on the other end of the guest's cable, where Node is ten times faster.
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { RoleName } from '../../src/config/options.ts';
import type { ClientPlace } from './clients.ts';
import type { Lab } from './lab.ts';
import { prepareRole, type RoleProcess } from './role-process.ts';
import { startSharedServers, type SharedServers } from './three-hosts-services.ts';

type Settings = Readonly<Record<string, string>>;

export interface LabCloudOptions {
  /** Of every role. */
  readonly settings?: Settings;
  /** Of the host in the nested guest. Its name is `lab`. */
  readonly inside: { readonly roles: readonly RoleName[]; readonly settings: Settings };
}

export interface LabCloud extends ClientPlace {
  /** The folder of everything that the host in the nested guest keeps, on a disk of the guest's own. */
  readonly insideState: string;
  /** Another role of `head`, the host that is here. */
  startHere(role: RoleName, settings: Settings): Promise<RoleProcess>;
  /** The last lines of every role, for failures. */
  tail(): Promise<string>;
  down(): Promise<void>;
}

const readyMsMax = 300_000;
/** Behind the balancer, which has the usual one. */
const apiPort = '18773';

export async function startLabCloud(lab: Lab, options: LabCloudOptions): Promise<LabCloud> {
  const folder = join(lab.shared, 'servers');
  await mkdir(folder, { mode: 0o755 });
  const servers = await startSharedServers({
    namespace: lab.namespace, folder, address: lab.gateway, network: lab.gateway.replace(/\d+$/, '0/24'), apis: [`${lab.gateway}:${apiPort}`],
  });
  const cloud = new NestedCloud(lab, servers, options);
  try {
    await cloud.start();
    return cloud;
  } catch (error) {
    const said = await cloud.tail();
    await cloud.down();
    throw new Error(`the cloud did not start\n${said}`, { cause: error });
  }
}

class NestedCloud implements LabCloud {
  readonly host: { readonly namespace: string };
  readonly folder: string;
  readonly state: string;
  readonly insideState: string;
  environment: Record<string, string> = {};
  readonly #lab: Lab;
  readonly #servers: SharedServers;
  readonly #options: LabCloudOptions;
  readonly #roles: RoleProcess[] = [];

  constructor(lab: Lab, servers: SharedServers, options: LabCloudOptions) {
    this.#lab = lab;
    this.#servers = servers;
    this.#options = options;
    this.host = lab;
    this.folder = lab.shared;
    this.state = join(lab.shared, 'head');
    // Here and there: a folder beside the shared one, which is no disk for images.
    this.insideState = join(dirname(lab.shared), 'lab');
  }

  readonly run: ClientPlace['run'] = (command, args, options = {}) =>
    this.#lab.outside(command, args, { cwd: this.folder, ...options, env: { HOME: this.folder, ...this.environment, ...options.env } });

  async start(): Promise<void> {
    await writeFile(join(this.folder, 'master.key'), randomBytes(32), { mode: 0o600 });
    for (const role of ['objectstore', 'scheduler', 'api'] as const) await this.startHere(role, {});
    await this.#lab.run('sh', ['-c', 'mkdir -p "$0" "$1" && mount --bind "$0" "$1"', '/var/lib/novact', this.insideState]);
    for (const role of this.#options.inside.roles) await this.#startInside(role);
    const lines = [...(await readFile(join(this.state, 'novarc'), 'utf8')).matchAll(/^export ([A-Z0-9_]+)=(.*)$/gm)];
    this.environment = Object.fromEntries(lines.map(([, name = '', value = '']) => [name, value.replace(/^'(.*)'$/, '$1')]));
  }

  async startHere(role: RoleName, settings: Settings): Promise<RoleProcess> {
    const own = { ...this.#common, NOVACT_STATE: this.state, NOVACT_ADDRESS: this.#lab.gateway, NOVACT_BIND: this.#lab.gateway, ...settings };
    return this.#start(await prepareRole({ role, host: 'head', namespace: this.#lab.namespace, readyMsMax, settings: own }));
  }

  async #startInside(role: RoleName): Promise<void> {
    const own = {
      ...this.#common, NOVACT_HOST: 'lab', NOVACT_STATE: this.insideState, NOVACT_ADDRESS: this.#lab.address, NOVACT_BIND: this.#lab.address,
      ...this.#options.inside.settings,
    };
    const wrap = this.#lab.prefix({ ...own, NO_COLOR: 'yes' });
    await this.#start(await prepareRole({ role, host: 'lab', namespace: this.#lab.namespace, wrap, readyMsMax, settings: own }));
  }

  async #start(role: RoleProcess): Promise<RoleProcess> {
    this.#roles.push(role);
    await role.start();
    return role;
  }

  get #common(): Settings {
    const { gateway } = this.#lab;
    return {
      NOVACT_DATABASE_URL: this.#servers.databaseUrl, NOVACT_REDIS_URL: this.#servers.redisUrl, NOVACT_MASTER_KEY: join(this.folder, 'master.key'),
      NOVACT_API_PORT: apiPort, NOVACT_EC2_URL: `http://${gateway}:8773`, NOVACT_S3_PORT: '3333', NOVACT_S3_URL: `http://${gateway}:3333`,
      NOVACT_METADATA_PORT: '8775', NOVACT_LOG_LEVEL: 'info', NOVACT_MEMORY_RESERVED_MIB: '0', NOVACT_DISK_RESERVED_GIB: '0',
      NOVACT_VOLUME_RESERVED_GIB: '0', ...this.#options.settings,
    };
  }

  async tail(): Promise<string> {
    return this.#roles.map((role) => `--- ${role.role}@${role.host}\n${role.output().split('\n').slice(-25).join('\n')}`).join('\n');
  }

  async down(): Promise<void> {
    await Promise.all(this.#roles.map((role) => role.kill9()));
    await this.#servers.close();
  }
}
