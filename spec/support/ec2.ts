// Calls of EC2 actions as a client makes them, with the answer as an object, and mailboxes that note what owners are told.
import { sql } from 'drizzle-orm';
import { Parser } from 'xml2js';
import type { Principal } from '../../src/auth/principal.ts';
import { relayBatch } from '../../src/db/outbox.ts';
import { images } from '../../src/db/schema/all.ts';
import { newId } from '../../src/lib/ids.ts';
import { computeProtocol } from '../../src/messages/compute.ts';
import { networkProtocol } from '../../src/messages/network.ts';
import { objectstoreProtocol } from '../../src/messages/objectstore.ts';
import type { Handlers } from '../../src/messages/protocol.ts';
import { volumeProtocol } from '../../src/messages/volume.ts';
import { schedulerProtocol } from '../../src/messages/scheduler.ts';
import { createEc2World, makeSharedNetwork, type Ec2World, type Ec2WorldOptions } from './ec2-world.ts';

export type Params = Readonly<Record<string, string | number | boolean>>;

/** An XML element: text, or members by name; repeated ones are lists, `<item>` always is. */
export interface Element {
  readonly [name: string]: unknown;
}

export interface Told {
  readonly to: string;
  readonly verb: string;
  readonly body: unknown;
}

export interface Ec2Lab extends Ec2World {
  /** The answer's root element. Throws an Error that begins with the code when the answer is one. */
  ask(action: string, params?: Params, as?: Principal): Promise<Element>;
  /** The code of the error that a call is answered with, or `ok`. */
  codeOf(action: string, params?: Params, as?: Principal): Promise<string>;
  /** What owners were told since the last look. */
  told(): Promise<Told[]>;
  /** Forgets all that was made, but for users, projects, types and hosts: a database of its own for each spec takes seconds. */
  clear(): Promise<void>;
  /** An image that can be launched, without the objectstore's work. */
  addImage(row?: Partial<typeof images.$inferInsert>): Promise<string>;
}

/** What a value of an answer is at a path of element names and list indexes. */
export function at(element: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce((found: unknown, step) => (found !== null && typeof found === 'object' ? (found as Record<string | number, unknown>)[step] : undefined),
    element);
}

/** The items of a list element; none for an empty one. */
export function items(element: unknown, ...path: readonly string[]): Element[] {
  const found = at(element, ...path, 'item');
  return Array.isArray(found) ? (found as Element[]) : [];
}

const parser = new Parser({ explicitArray: false, ignoreAttrs: true, explicitRoot: false });

async function parse(xml: string): Promise<Element> {
  return listed((await parser.parseStringPromise(xml)) as unknown) as Element;
}

/** `item` is a list, however many there are. */
function listed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(listed);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value)
    .map(([name, member]) => [name, name === 'item' && !Array.isArray(member) ? [listed(member)] : listed(member)]));
}

export interface Ec2LabOptions extends Ec2WorldOptions {
  readonly console?: () => Promise<{ output: string; timestamp: string }>;
  /** What the objectstore says of a bundle. */
  readonly bundle?: Handlers<(typeof objectstoreProtocol)['table'], unknown>['describeBundle'];
}

export async function createEc2Lab(options: Ec2LabOptions = {}): Promise<Ec2Lab> {
  const world = await createEc2World(options);
  const seen: Told[] = [];
  const note = (to: string, verb: string) => (body: unknown): void => {
    seen.push({ to, verb, body });
  };
  const { transport } = world;
  await transport.serve({ role: 'scheduler' }, schedulerProtocol, {
    placeInstance: note('scheduler', 'placeInstance'), placeVolume: note('scheduler', 'placeVolume'), performOperation: note('scheduler', 'performOperation'),
    operationEnded: note('scheduler', 'operationEnded'),
  });
  await transport.serve({ role: 'objectstore' }, objectstoreProtocol, {
    performOperation: note('objectstore', 'performOperation'),
    describeBundle: options.bundle ?? (() => Promise.reject(new Error('this objectstore has no bundles'))),
  });
  const unasked = () => Promise.reject(new Error('nobody asks this'));
  const unaskedMoves = {
    prepareIncoming: unasked, receiveIncoming: unasked, forgetIncoming: unasked, incomingState: unasked, volumeGrew: unasked, copyVolume: unasked,
  };
  const readConsole = options.console ?? (() => Promise.reject(new Error('this host has no consoles')));
  await transport.serve({ role: 'compute', host: 'host1' }, computeProtocol,
    { performOperation: note('compute@host1', 'performOperation'), readConsole, ...unaskedMoves });
  await transport.serve({ role: 'volume', host: 'host1' }, volumeProtocol,
    { performOperation: note('volume@host1', 'performOperation'), settleExports: unasked });
  await transport.serve({ role: 'network', host: 'host1' }, networkProtocol,
    { ensurePort: unasked, removePort: unasked, leavePort: unasked, refreshFirewall: note('network@host1', 'refreshFirewall') });

  async function ask(action: string, params: Params = {}, as?: Principal): Promise<Element> {
    const given = Object.fromEntries(Object.entries(params).map(([name, value]) => [name, String(value)]));
    const answer = await world.call(new URLSearchParams({ Action: action, Version: '2016-11-15', ...given }).toString(), as);
    const root = await parse(answer.body);
    if (answer.status === 200) return root;
    throw new Error(`${String(at(root, 'Errors', 'Error', 'Code'))}: ${String(at(root, 'Errors', 'Error', 'Message'))}`);
  }

  // What calls left in the outbox is sent here; mailboxes are emptied in the background, and quickly.
  async function told(): Promise<Told[]> {
    await relayBatch(world.db, { countMax: 1_000, except: [] }, (messages) => transport.deliver(messages));
    for (;;) {
      const depths = await transport.depths();
      if (depths.every((depth) => depth.waiting === 0 && depth.inHand === 0)) return seen.splice(0);
      await new Promise((resolve) => { setImmediate(resolve); });
    }
  }

  return {
    ...world,
    ask,
    codeOf: (action, params, as) => ask(action, params, as).then(() => 'ok', (error: Error) => error.message.replace(/: .*$/s, '')),
    told,
    async clear() {
      await world.db.execute(sql`truncate reservations, instances, images, networks, fixed_addresses, security_groups, tags, operations, key_pairs,
        volumes, snapshots, vpcs, dhcp_options, internet_gateways cascade`);
      if (options.projectNetworks === undefined) await makeSharedNetwork(world.db, new Date());
      await told();
    },
    async addImage(row = {}) {
      const id = row.id ?? newId('ami');
      const now = new Date();
      await world.db.insert(images).values({
        id, projectId: world.ann.projectId, name: `image ${id}`, location: 'b/k', type: 'machine', architecture: 'x86_64', state: 'available',
          rootDeviceName: '/dev/vda',
        virtualizationType: 'hvm', format: 'qcow2', sizeBytes: 1000, virtualSizeBytes: 3 * 2 ** 30, sha256: 'x', blobId: 'x', createdAt: now,
          stateChangedAt: now, ...row,
      });
      return id;
    },
  };
}
