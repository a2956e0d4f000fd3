// Volumes over ATA over Ethernet: a vblade for each attachment, at a shelf that is this host's and a slot that is the attachment's. The protocol has no
// secrets and no addresses but those of cards: a vblade answers only the cards of those hosts that may connect, found by ARP, on a link where nobody can
// pretend one. A host cannot reach its own vblade so: guests of the volume's own host open it in place.
import { access, symlink } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import { createGate } from '../../lib/gate.ts';
import type { Connection, ExportSpec } from './driver.ts';
import { ExportServers, type ExportProgram } from './export-servers.ts';
import type { ExporterInfo, ExportPast, VolumeExporter } from './exporter.ts';
import { storageLink } from './storage-link.ts';
import type { VolumeDevice } from './store.ts';

export interface AoeOptions {
  /** A folder of its own, for what vblade says. */
  readonly folder: string;
  /** By which other hosts reach this one: volumes are served on the interface that has it. */
  readonly address: string;
  /** No other volume host of that link has the same. Default: the last two numbers of the address. */
  readonly shelf: number | undefined;
  readonly run: Run;
  readonly clock: Clock;
}

/**
 * Its mark is a link to the volume, which it serves. Without arguments it explains itself. The kernel that has a volume gives it up after three minutes
 * without an answer: a copy may take longer, so that it is not held for one.
 */
const vblade: ExportProgram = { name: 'vblade', package: 'vblade', probeArgs: [], markName: 'volume', holds: false };
const arpSeconds = 5;
/** The last number means all of them. */
const [shelfMax, slotMax] = [0xfffe, 0xfe];

type AoeConnection = Extract<Connection, { protocol: 'aoe' }>;

export const createAoeExporter = (options: AoeOptions): VolumeExporter => new AoeExporter(options);

class AoeExporter implements VolumeExporter {
  readonly info: ExporterInfo = { name: 'aoe', remote: true, resizeOnline: false, liveMigration: false, authenticates: false };
  readonly servers: ExportServers;
  readonly #options: AoeOptions;
  readonly #shelf: number;
  /** Two vblades at one slot would both answer: a slot is taken by the process that is there, before the next is looked for. */
  readonly #starts = createGate(1);

  constructor(options: AoeOptions) {
    this.#options = options;
    this.#shelf = options.shelf ?? shelfOf(options.address);
    this.servers = new ExportServers(vblade, options);
  }

  async probe(): Promise<void> {
    await this.servers.probe();
    await storageLink(this.#options.run, this.#options.address);
  }

  async serve(spec: ExportSpec, device: VolumeDevice, past: ExportPast): Promise<Connection> {
    const { attachmentId } = spec;
    const link = await storageLink(this.#options.run, this.#options.address);
    const foreign = spec.initiators.filter(({ address }) => address === undefined || !link.ownAddresses.includes(address));
    if (foreign.length === 0) {
      await this.end(attachmentId);
      return { protocol: device.type, path: device.path };
    }
    if (foreign.length < spec.initiators.length) {
      throw new DriverError('unsupported', 'by ATA over Ethernet, a volume is not for its own host and another at once');
    }
    const cards = await Promise.all(foreign.map((initiator) => this.#cardOf(initiator, link.interface)));
    const allowed = ['-m', cards.toSorted().join(',')];
    return this.#starts.pass(async () => {
      const running = await this.servers.resume(attachmentId);
      const place = past.own?.connection.protocol === 'aoe' ? past.own.connection : await this.#freePlace(attachmentId, past.others);
      const args = [...allowed, String(place.shelf), String(place.slot), link.interface, this.servers.markOf(attachmentId)];
      const isRight = running !== undefined && past.own?.sizeBytes === device.sizeBytes && running.args.slice(1).join(' ') === args.join(' ');
      if (!isRight) await this.#start(attachmentId, device, args);
      this.servers.watch(attachmentId);
      return place;
    });
  }

  end(attachmentId: string): Promise<void> {
    return this.servers.end(attachmentId);
  }

  /** One without a folder of its own is opened in place. */
  async isServed(attachmentId: string): Promise<boolean> {
    if ((await this.servers.find(attachmentId)) !== undefined) return true;
    return access(this.servers.folderOf(attachmentId)).then(() => false, () => true);
  }

  /** The card by which that host is on the link, as vblade writes it: twelve digits. */
  async #cardOf({ name, address }: ExportSpec['initiators'][number], link: string): Promise<string> {
    if (address === undefined || !isIPv4(address)) {
      throw new DriverError('unsupported', `ATA over Ethernet finds the card of ${name} by ARP, and its IPv4 address is not known`);
    }
    const { stdout } = await this.#options.run('arping', ['-f', '-w', String(arpSeconds), '-I', link, address], { okCodes: [0, 1] });
    const card = /\[([0-9a-f]{2}(?::[0-9a-f]{2}){5})\]/i.exec(stdout)?.[1];
    if (card === undefined) throw new DriverError('failed', `nobody on ${link} answers for ${address}: ATA over Ethernet crosses no router`);
    return card.replaceAll(':', '').toLowerCase();
  }

  /** The first slot that neither a record nor a process has. */
  async #freePlace(attachmentId: string, others: readonly Connection[]): Promise<AoeConnection> {
    const mark = this.servers.markOf(attachmentId);
    const served = (await this.servers.list()).filter(({ args }) => args.at(-1) !== mark).map(({ args }) => args.slice(-4, -2).map(Number));
    const taken = new Set(served.flatMap(([shelf, slot]) => (shelf === this.#shelf && slot !== undefined ? [slot] : [])));
    for (const other of others) if (other.protocol === 'aoe') taken.add(other.slot);
    const slot = Array.from({ length: slotMax + 1 }, (_, index) => index).find((one) => !taken.has(one));
    if (slot === undefined) throw new DriverError('failed', `all ${slotMax + 1} slots of the shelf ${this.#shelf} are taken`);
    return { protocol: 'aoe', shelf: this.#shelf, slot };
  }

  /** It says one line when it serves. A card that it does not understand it would leave out, and then serve everybody. */
  async #start(attachmentId: string, device: VolumeDevice, args: readonly string[]): Promise<void> {
    await this.servers.clear(attachmentId);
    await symlink(device.path, this.servers.markOf(attachmentId));
    const serves = async (said: string) => (said.includes('ignoring mask') ? false : /^pid \d+: e\d+\.\d+,/m.test(said) || undefined);
    if (await this.servers.start(attachmentId, { args, serves })) return;
    throw new DriverError('failed', `vblade for ${attachmentId} does not understand which cards may connect: ${args.join(' ')}`);
  }
}

function shelfOf(address: string): number {
  const [, , third, fourth] = address.split('.').map(Number);
  const shelf = isIPv4(address) ? (third ?? 0) * 256 + (fourth ?? 0) : shelfMax + 1;
  if (shelf <= shelfMax) return shelf;
  throw new DriverError('unsupported', `${address} gives this host no shelf: set one that no other volume host of its link has`);
}
