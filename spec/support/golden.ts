// Golden files of EC2 actions: the requests of one story, each in a comment, and the answer to each. Ids, keys and fingerprints, which
// are new every time, are written in a form that is always the same; a request may name an id in that form.
import { and, eq } from 'drizzle-orm';
import type { Db } from '../../src/db/db.ts';
import { buckets, fixedAddresses, images, instances, objects, snapshots, volumeAttachments, volumes } from '../../src/db/schema/all.ts';
import { createFloating } from '../../src/db/address-pools.ts';
import type { ProjectNetworkPolicy } from '../../src/db/project-networks.ts';
import type { Principal } from '../../src/auth/principal.ts';
import { fixtureNow, standingClock } from './auth-fixture.ts';
import { createEc2World, type Ec2World, type Ec2WorldOptions } from './ec2-world.ts';

/** A public image that every story may run. */
export const goldenImage = 'ami-0ffffffffffffff01';

/** A request of a story, before it is made. */
export interface Coming {
  readonly world: Ec2World;
  readonly owner: Principal;
  /** As in the file. */
  readonly query: string;
  /** With the ids of this story. */
  readonly real: string;
  /** What this story has made so far. */
  readonly ids: readonly string[];
}

export interface GoldenWorld {
  /** Plays the requests in a project of their own. The text is what the file must say, whatever somebody else does `aside` before each. */
  play(queries: readonly string[], aside?: (coming: Coming) => Promise<void>): Promise<string>;
  close(): Promise<void>;
}

/** Where projects have networks of their own. */
const projectNetworks: ProjectNetworkPolicy = { manager: 'vxlan', cidr: '172.31.0.0/24', segments: { min: 5_000, max: 5_999 }, mtu: 1450 };
/** Such networks are made and changed by these. */
const changesVpcs = /Action=(Create|Delete|Attach|Detach|Replace|Associate|Disassociate)(Vpc|Subnet|InternetGateway|Route(Table(Association)?)?)(&|$)/;

export async function createGoldenWorld(options: Pick<Ec2WorldOptions, 'audit'> = {}): Promise<GoldenWorld> {
  const [shared, routed] = [await furnishedWorld(options), await furnishedWorld({ ...options, projectNetworks })];
  let stories = 0;
  return {
    async play(queries, aside = () => Promise.resolve()) {
      stories += 1;
      const world = queries.some((query) => changesVpcs.test(query)) ? routed : shared;
      const text = await playStory(world, await newcomer(world, stories), queries, aside);
      // The network is one for all: what is left of it is the same in every story, whatever the order.
      await world.db.update(fixedAddresses).set({ instanceId: null, claimedAt: null });
      return text;
    },
    async close() {
      await shared.close();
      await routed.close();
    },
  };
}

async function furnishedWorld(options: Ec2WorldOptions): Promise<Ec2World> {
  const clock = standingClock(fixtureNow);
  const world = await createEc2World({ ...options, clock });
  const now = clock.date();
  await world.db.insert(images).values({
    id: goldenImage, projectId: world.bob.projectId, name: 'tiny', location: 'images/tiny.qcow2', type: 'machine', architecture: 'x86_64',
    state: 'available', isPublic: true,
    rootDeviceName: '/dev/vda', virtualizationType: 'hvm', format: 'qcow2', sizeBytes: 1_000_000, virtualSizeBytes: 4_000_000,
    createdAt: now, stateChangedAt: now,
  });
  await world.db.insert(buckets).values({ name: 'disks', projectId: world.bob.projectId, createdAt: now });
  await world.db.insert(objects).values({
    bucket: 'disks', key: 'web.vmdk', acl: 'public-read', projectId: world.bob.projectId, blobId: 'web', sizeBytes: 1_000_000, etag: 'e', headers: {},
    metadata: {}, checksums: {}, modifiedAt: now,
  });
  await createFloating(world.db, { range: '203.0.113.0/26', pool: 'default' });
  await createFloating(world.db, { range: '203.0.113.64/26', pool: 'dmz' });
  return world;
}

async function newcomer(world: Ec2World, story: number): Promise<Principal> {
  const name = `story${story}`;
  await world.auth.createUser({ name });
  await world.auth.createProject({ name, manager: name, id: String(900_000_000_000 + story) });
  return { ...(await world.auth.principalFor(name, name)), isSuperuser: true };
}

async function playStory(
  world: Ec2World, who: Principal, queries: readonly string[], aside: (coming: Coming) => Promise<void>,
): Promise<string> {
  const ids = new LastingIds();
  let text = '';
  for (const query of queries) {
    const real = ids.real(query);
    await aside({ world, owner: who, query, real, ids: ids.all() });
    if (/Action=(AttachVolume|CreateImage)\b/.test(real)) await startInstances(world.db, who.projectId);
    const answer = await world.call(real, who);
    await keepVolumes(world.db, who.projectId);
    const own = answer.body.replaceAll(who.projectId, '111122223333').replaceAll(who.userId, 'AIDAEXAMPLE').replaceAll(who.userName, 'ann');
    const body = ids.lasting(own);
    text += `<!-- ${query.replaceAll('--', '%2D%2D')} -->\n<!-- ${answer.status} -->\n${indent(body)}\n\n`;
  }
  return text;
}

/** What volume hosts do between two requests. */
async function keepVolumes(db: Db, projectId: string): Promise<void> {
  await db.update(volumes).set({ state: 'available', host: 'host1', stateDeadline: null })
    .where(and(eq(volumes.projectId, projectId), eq(volumes.state, 'creating')));
  await db.update(snapshots).set({ state: 'completed', completedAt: new Date(fixtureNow) })
    .where(and(eq(snapshots.projectId, projectId), eq(snapshots.state, 'pending')));
  await db.update(volumeAttachments).set({ state: 'attached' }).where(eq(volumeAttachments.state, 'attaching'));
}

/** What the scheduler and the compute host do, for a story whose instances are to run. */
async function startInstances(db: Db, projectId: string): Promise<void> {
  await db.update(instances).set({ state: 'running', host: 'host1' }).where(and(eq(instances.projectId, projectId), eq(instances.state, 'pending')));
}

/** The requests of a golden file, in order. */
export function queriesOf(text: string): string[] {
  return [...text.matchAll(/^<!-- (\S*Action=\S+) -->$/gm)].map((match) => match[1] ?? '');
}

class LastingIds {
  readonly #lasting = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  lasting(text: string): string {
    return text
      .replaceAll(/\b([a-z]+)-(?!0ffffffffffffff)[0-9a-f]{17}\b/g, (id, prefix: string) => this.#name(id, prefix))
      // Which of the free ones a story gets depends on the stories before it.
      .replaceAll(/\b203\.0\.113\.(?!64|127)\d+\b/g, '203.0.113.1')
      .replaceAll(/\b02:16:3e(:[0-9a-f]{2}){3}\b/g, '02:16:3e:00:00:00')
      .replaceAll(/\b(AKIA|ASIA|AIDA)[A-Z2-7]{16}\b/g, (id, prefix: string) => this.#name(id, prefix))
      .replaceAll(/<(SecretAccessKey|SessionToken)>[^<]+/g, '<$1>[secret]')
      .replaceAll(/-----BEGIN [A-Z ]+-----[\s\S]*?-----END [A-Z ]+-----/g, '[private key]')
      .replaceAll(/\b([0-9a-f]{2}:){15,}[0-9a-f]{2}\b/g, '[fingerprint]');
  }

  all(): string[] {
    return [...this.#lasting.keys()];
  }

  real(text: string): string {
    let result = text;
    for (const [real, lasting] of this.#lasting) result = result.replaceAll(lasting, real);
    return result;
  }

  #name(id: string, prefix: string): string {
    const known = this.#lasting.get(id);
    if (known !== undefined) return known;
    const count = (this.#counts.get(prefix) ?? 0) + 1;
    const lasting = prefix.startsWith('A') ? `${prefix}${String(count).padStart(16, '0')}` : `${prefix}-${String(count).padStart(17, '0')}`;
    this.#counts.set(prefix, count);
    this.#lasting.set(id, lasting);
    return lasting;
  }
}

/** One element on each line, so that a difference can be read. */
function indent(xml: string): string {
  const lines: string[] = [];
  let depth = 0;
  for (const token of xml.replaceAll(/>\s*</g, '>\n<').split('\n')) {
    const isClosing = token.startsWith('</');
    const isOpening = /^<[^/?!][^>]*[^/]>$|^<[^/?!]>$/.test(token);
    if (isClosing) depth -= 1;
    lines.push(`${'  '.repeat(Math.max(0, depth))}${token}`);
    if (isOpening && !isClosing) depth += 1;
  }
  return lines.join('\n');
}
