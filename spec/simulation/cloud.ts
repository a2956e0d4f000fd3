// The simulated cloud: machines, the processes on them with a supervisor that starts again what died, the mailboxes and the database between
// them, and the weather. Everything that happens is written to the trace.
import { createHash } from 'node:crypto';
import { remove as forgetSystem } from 'nact/lib/system-map.js';
import type { Principal } from '../../src/auth/principal.ts';
import { seedInstanceTypes } from '../../src/db/instance-types.ts';
import { createNetwork } from '../../src/db/networks.ts';
import { images, projects, users } from '../../src/db/schema/all.ts';
import { createMemoryFiles } from '../../src/drivers/files/memory.ts';
import { SimWorld } from '../../src/drivers/hypervisor/sim.ts';
import { createFakeNetwork } from '../../src/drivers/network/fake.ts';
import { messageOf } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createDirectoryBoard, type DirectoryBoard } from '../../src/transport/local-directory.ts';
import { createLocalMedium, type LocalMedium } from '../../src/transport/local.ts';
import { TransportError } from '../../src/transport/transport.ts';
import type { Chance } from '../support/sim-chance.ts';
import type { SimDatabase } from '../support/sim-database.ts';
import type { VirtualTime } from '../support/sim-time.ts';
import { SimProcess, type Weather } from './process.ts';
import { startApi, startCompute, startNetwork, startScheduler, type CallApi, type Ground, type SimMachine } from './roles.ts';

/** What a simulated cloud is made of. */
export interface Shape {
  readonly hosts: number;
  readonly coresOfHost: number;
  readonly schedulers: number;
}

/** The weather of the mailboxes, beside that of processes. */
export interface Storm extends Weather {
  areMailboxesAway: boolean;
  /** Of each message. */
  loss: number;
  doubling: number;
  delay: number;
}

interface Service {
  readonly name: string;
  readonly start: (ground: Ground) => Promise<void>;
  readonly machine: SimMachine | undefined;
  process: SimProcess | undefined;
  starts: number;
}

const projectId = '111122223333';
const principal: Principal = {
  userId: 'u', userName: 'joe', accessKeyId: 'AKIA', projectId, projectName: 'joe', isSuperuser: false, isAdmin: false, roles: new Set(['projectmanager']),
};

export class SimCloud {
  readonly time: VirtualTime;
  readonly database: SimDatabase;
  readonly chance: Chance;
  readonly storm: Storm = { isDatabaseAway: false, driverFaults: 0, areMailboxesAway: false, loss: 0, doubling: 0, delay: 0 };
  readonly machines: readonly SimMachine[];
  readonly services: readonly Service[];
  readonly medium: LocalMedium;
  readonly board: DirectoryBoard;
  readonly trace: string[] = [];
  /** What must never happen, and did. */
  readonly violations: string[] = [];
  readonly imageId: string;
  readonly #apis = new Map<string, CallApi>();
  #isOver = false;

  constructor(options: { time: VirtualTime; database: SimDatabase; chance: Chance; shape: Shape }) {
    const { time, chance, shape } = options;
    this.time = time;
    this.database = options.database;
    this.chance = chance;
    this.imageId = newId('ami');
    const courier = chance.fork('courier');
    this.medium = createLocalMedium({ clock: time, log: silentLog, courier: { carry: (letter, arrive) => this.#carry(courier, letter, arrive) } });
    this.board = createDirectoryBoard({ clock: time });
    this.machines = Array.from({ length: shape.hosts }, (_, index) => ({
      name: `h${index + 1}`, world: new SimWorld(), files: createMemoryFiles({ clock: time }), network: createFakeNetwork(), cores: shape.coresOfHost,
      bootId: `boot-${index + 1}-1`,
    }));
    this.services = [
      ...['api-1', 'api-2'].map((name) => this.#service(name, undefined, async (ground) => void this.#apis.set(name, await startApi(ground, principal)))),
      ...Array.from({ length: shape.schedulers }, (_, index) => this.#service(`scheduler-${index + 1}`, undefined, startScheduler)),
      ...this.machines.flatMap((machine) => [
        this.#service(`network@${machine.name}`, machine, (ground) => startNetwork(ground, machine)),
        this.#service(`compute@${machine.name}`, machine, (ground) => startCompute(ground, machine)),
      ]),
    ];
  }

  /** Rows as a founded cloud has them. */
  async lay(): Promise<void> {
    const { database, time } = this;
    database.empty();
    const db = database.direct();
    const createdAt = time.date();
    await db.insert(users).values({ id: 'u', name: 'joe', createdAt });
    await db.insert(projects).values({ id: projectId, name: 'joe', description: '', managerId: 'u', createdAt });
    await db.insert(images).values({
      id: this.imageId, projectId, name: 'an image', location: 'b/k', type: 'machine', architecture: 'x86_64', state: 'available',
      rootDeviceName: '/dev/vda', virtualizationType: 'hvm', format: 'raw', sizeBytes: 1_000, virtualSizeBytes: 1_000, sha256: '00', blobId: 'blob',
      createdAt, stateChangedAt: createdAt,
    });
    await seedInstanceTypes(db);
    await createNetwork(db, { name: 'default', manager: 'flat-dhcp', cidr: '10.45.0.0/26', bridge: 'sim0', mtu: 1500 }, createdAt);
    for (const service of this.services) this.#start(service);
  }

  say(text: string): void {
    this.trace.push(`${(this.time.elapsedMs / 1_000).toFixed(3).padStart(9)} ${text}`);
  }

  violate(text: string): void {
    this.say(`VIOLATION ${text}`);
    this.violations.push(text);
  }

  hash(): string {
    return createHash('sha256').update(this.trace.join('\n')).digest('hex').slice(0, 16);
  }

  /** An api that runs, if there is one, with the process that carries it. */
  api(chance: Chance): { readonly call: CallApi; readonly process: SimProcess } | undefined {
    const service = chance.pick(this.services.filter(({ name, process }) => name.startsWith('api') && process !== undefined && this.#apis.has(name)));
    const call = this.#apis.get(service?.name ?? '');
    return service?.process === undefined || call === undefined ? undefined : { call, process: service.process };
  }

  kill(service: Service, downMs: number): void {
    const { process } = service;
    if (process === undefined) return;
    this.say(`kill ${process.name}, down for ${downMs} ms`);
    this.#down(service, downMs);
    process.kill();
  }

  /** Everything on the machine ends, guests included. */
  powerOff(machine: SimMachine, downMs: number): void {
    this.say(`power loss of ${machine.name} for ${downMs} ms`);
    for (const service of this.services) if (service.machine === machine) this.kill(service, downMs + 1);
    for (const { timers } of machine.world.domains.values()) for (const timer of timers.splice(0)) timer.cancel();
    // Definitions are files; guests are not.
    for (const id of machine.world.domains.keys()) machine.world.crash(id);
    const [, host, boot] = machine.bootId.split('-');
    machine.bootId = `boot-${host}-${Number(boot) + 1}`;
  }

  /** After it nothing of this cloud moves, and it can be forgotten. */
  end(): void {
    this.#isOver = true;
    for (const { process } of this.services) process?.kill();
  }

  #service(name: string, machine: SimMachine | undefined, start: (ground: Ground) => Promise<void>): Service {
    return { name, machine, start, process: undefined, starts: 0 };
  }

  #start(service: Service): void {
    if (this.#isOver || service.process !== undefined) return;
    service.starts += 1;
    const { time, database, medium, board, storm } = this;
    const name = `${service.name}#${service.starts}`;
    const process = new SimProcess({ name, time, chance: this.chance.fork(name), weather: storm });
    service.process = process;
    process.whenKilled(() => {
      if (service.process === process) this.#down(service, 2_000);
      forgetSystem(process.name);
    });
    const giveUp = (error: unknown): void => {
      if (process.state === 'dead') return;
      this.say(`${process.name} ends itself: ${messageOf(error)}`);
      process.kill();
    };
    service.start({ process, time, database, medium, board, onFatal: giveUp }).then(() => this.say(`${process.name} is up`), giveUp);
  }

  #down(service: Service, downMs: number): void {
    service.process = undefined;
    this.#apis.delete(service.name);
    this.time.after(downMs, () => this.#start(service));
  }

  #carry(chance: Chance, { kind }: { readonly kind: 'message' | 'reply' }, arrive: () => boolean): boolean {
    const { storm } = this;
    if (storm.areMailboxesAway) {
      if (kind === 'reply') return true;
      if (chance.hits(0.3)) arrive(); // stored, but nobody learns of it
      throw new TransportError('timeout', 'the mailboxes do not answer');
    }
    if (chance.hits(storm.loss)) return true;
    const late = (): void => void this.time.after(chance.between(1, 5_000), arrive);
    if (chance.hits(storm.doubling)) late();
    if (!chance.hits(storm.delay)) return arrive();
    late();
    return true;
  }
}

