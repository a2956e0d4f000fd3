// The EC2 API of a small cloud in this process: a database of its own, two users with projects, the instance types, one host, real
// dispatching; over HTTP with real signatures when asked for. Messages go to mailboxes that nobody empties.
import { randomBytes } from 'node:crypto';
import { allActions } from '../../src/api/ec2/actions/index.ts';
import { adminActions } from '../../src/api/admin/index.ts';
import { findAdminOperation } from '../../src/api/admin/model.ts';
import type { AnyAction, OperatorWork } from '../../src/api/ec2/action.ts';
import { createDispatcher, type Answer, type Authenticate, type Dispatcher, type DispatcherOptions } from '../../src/api/ec2/dispatch.ts';
import { createEc2Server } from '../../src/api/http/server.ts';
import { authenticateEc2 } from '../../src/auth/authenticate.ts';
import { AuthManager } from '../../src/auth/manager.ts';
import type { Principal } from '../../src/auth/principal.ts';
import type { AuditTrail } from '../../src/db/audit.ts';
import type { Db } from '../../src/db/db.ts';
import { reportHost } from '../../src/db/hosts.ts';
import { reportVolumeHost } from '../../src/db/volume-hosts.ts';
import { seedInstanceTypes } from '../../src/db/instance-types.ts';
import { createNetwork, sharedNetworkName } from '../../src/db/networks.ts';
import type { ProjectNetworkPolicy } from '../../src/db/project-networks.ts';
import { authDrivers } from '../../src/drivers/auth/index.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { silentLog, type Log } from '../../src/lib/log.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import { createLocalDirectory } from '../../src/transport/local-directory.ts';
import { createLocalTransport } from '../../src/transport/local.ts';
import type { Directory } from '../../src/transport/directory.ts';
import type { Transport } from '../../src/transport/transport.ts';
import { requestOf } from './auth-fixture.ts';
import { createTestDatabase } from './database.ts';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface Ec2World {
  readonly db: Db;
  readonly auth: AuthManager;
  readonly transport: Transport;
  readonly directory: Directory;
  /** ann manages project ann; bob is a plain member of project bob. */
  readonly ann: Principal & Credentials;
  readonly bob: Principal & Credentials;
  readonly dispatcher: Dispatcher;
  /** Which believes signatures alone. */
  readonly signed: Dispatcher;
  /** One request as ann, or as another, without a signature: `Action=…&…`. */
  call(query: string, as?: Principal): Promise<Answer>;
  /** The same over HTTP, with signatures. Closed with the world. */
  listen(): Promise<string>;
  close(): Promise<void>;
}

/** The network that projects share, as the network role makes it. */
export const makeSharedNetwork = (db: Db, now: Date) =>
  createNetwork(db, { name: sharedNetworkName, manager: 'flat-dhcp', cidr: '10.45.0.0/24', bridge: 'br-novact', mtu: 1500 }, now);

export const projectQuotas = {
  volumesPerProjectMax: 20, gigabytesPerProjectMax: 1_000, snapshotsPerProjectMax: 20, vpcsPerProjectMax: 5, subnetsPerVpcMax: 5,
  coresPerProjectMax: 1_000, memoryMiBPerProjectMax: 4_194_304, securityGroupsPerProjectMax: 500, rulesPerSecurityGroupMax: 100, keyPairsPerProjectMax: 5_000,
  imagesPerProjectMax: 1_000, overcommit: { cores: 8, memory: 1, disk: 1 },
} as const;

/** Where nothing that an operator does is asked for. */
export const idleOperator: OperatorWork = {
  startVpn: () => Promise.reject(new Error('nobody starts VPNs here')),
  userCredentials: () => Promise.reject(new Error('nobody makes certificates here')),
};

const annProject = '111122223333';
const bobProject = '444455556666';

async function member(auth: AuthManager, name: string, projectId: string, manager: string): Promise<Principal & Credentials> {
  await auth.createUser({ name });
  await auth.createProject({ name, id: projectId, manager: manager === '' ? name : manager, members: [name] });
  const key = await auth.createAccessKey({ user: name, project: name });
  return { ...(await auth.principalFor(name, name)), ...key };
}

export interface Ec2WorldOptions {
  readonly clock?: Clock;
  readonly actions?: readonly AnyAction[];
  readonly operator?: OperatorWork;
  /** Who is told what is changed; default: nobody. */
  readonly audit?: (db: Db) => AuditTrail;
  readonly log?: Log;
  /** Each project has networks of its own; default: all share one. */
  readonly projectNetworks?: ProjectNetworkPolicy;
}

export async function createEc2World(options: Ec2WorldOptions = {}): Promise<Ec2World> {
  const database = await createTestDatabase();
  const { db } = database;
  const clock = options.clock ?? systemClock;
  const transport = createLocalTransport({ clock: systemClock, log: silentLog, process: 'spec' });
  const auth = new AuthManager({ driver: authDrivers.db({ db, clock }), sealer: createSealer(randomBytes(32)) });
  await auth.createUser({ name: 'root', isAdmin: true });
  const ann = await member(auth, 'ann', annProject, '');
  const bob = await member(auth, 'bob', bobProject, 'root');
  await seedInstanceTypes(db);
  await reportHost(db, { name: 'host1', zone: 'nova', hypervisor: 'sim', cores: 8, memoryMiB: 16_384, diskGiB: 200, bootId: 'boot-1' }, clock.date());
  if (options.projectNetworks === undefined) await makeSharedNetwork(db, clock.date());
  await reportVolumeHost(db, { name: 'host1', zone: 'nova', driver: 'fake', isRemote: true, movesLive: true, sizeGiB: 10_000 }, clock.date());
  const directory = createLocalDirectory({ clock });
  let current: Principal = ann;
  const [trail, log] = [options.audit?.(db), options.log ?? silentLog];
  const audit = (service: 'admin' | undefined) => (trail === undefined ? {} : { audit: { trail, service } });
  const optionsFor = (authenticate: Authenticate): Omit<DispatcherOptions, 'actions'> => ({
    services: {
      db, auth, operator: options.operator ?? idleOperator, transport,
      relay: { kick: () => undefined, accepts: () => true }, directory, clock, log, region: 'nova', zone: 'nova',
      dnsDomain: 'novact.internal', endpoint: 'http://127.0.0.1:8773', instancesPerProjectMax: 20, addressesPerProjectMax: 10, ...projectQuotas,
      projectNetworks: options.projectNetworks,
    },
    authenticate,
  });
  const actions = options.actions ?? allActions;
  const dispatcher = createDispatcher({ actions, ...audit(undefined), ...optionsFor(async () => current) });
  const believing = optionsFor((request, dialect) => authenticateEc2(request, { auth, clock }, dialect));
  const signed = createDispatcher({ actions, ...audit(undefined), ...believing });
  const closers: (() => Promise<void>)[] = [];
  return {
    db, auth, transport, directory, ann, bob, dispatcher, signed,
    call(query, as = ann) {
      current = as;
      return dispatcher.dispatch(requestOf({ method: 'POST', target: '/', body: query }), 'request-1');
    },
    async listen() {
      const admin = createDispatcher({ actions: adminActions, find: findAdminOperation, ...audit('admin'), ...believing });
      const server = createEc2Server({ dispatcher: signed, adminDispatcher: admin, log, clock });
      const { port } = await server.listen('127.0.0.1', 0);
      closers.push(() => server.close(1000));
      return `http://127.0.0.1:${port}`;
    },
    async close() {
      for (const close of closers) await close();
      await transport.close();
      await database.close();
    },
  };
}
