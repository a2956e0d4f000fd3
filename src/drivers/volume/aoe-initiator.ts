// The kernel's side of ATA over Ethernet on a compute host: a volume of the link becomes a block device, /dev/etherd/eSHELF.SLOT. The kernel takes
// whatever answers, so it is only let listen on the link that hosts share: a guest on another interface is not heard.
import type { Clock } from '../../lib/clock.ts';
import { DriverError, messageOf } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import { storageLink } from './storage-link.ts';

export interface AoePlace {
  readonly shelf: number;
  readonly slot: number;
}

/** Errors and repetition: as of VolumeConnector in driver.ts. */
export interface AoeInitiator {
  /** The path of the device. */
  ensureConnected(place: AoePlace): Promise<string>;
  ensureDisconnected(place: AoePlace): Promise<void>;
}

export interface AoeInitiatorOptions {
  readonly run: Run;
  readonly clock: Clock;
  /** Of this host, on the link that volume hosts are on. */
  readonly address: string;
}

const folder = '/dev/etherd';
const foundMs = 30_000;
const goneMs = 10_000;
const pollMs = 250;

export const createAoeInitiator = (options: AoeInitiatorOptions): AoeInitiator => new KernelAoeInitiator(options);

class KernelAoeInitiator implements AoeInitiator {
  readonly #options: AoeInitiatorOptions;

  constructor(options: AoeInitiatorOptions) {
    this.#options = options;
  }

  async ensureConnected({ shelf, slot }: AoePlace): Promise<string> {
    const { clock, address } = this.#options;
    const link = await storageLink(this.#options.run, address);
    await this.#ensureModule(link.interface);
    const [name, path] = [`e${shelf}.${slot}`, `${folder}/e${shelf}.${slot}`];
    // One that an earlier volume left at this place may have another size.
    if (await this.#isThere(path)) await this.#tell('revalidate', name);
    for (const until = clock.now() + foundMs; clock.now() < until; await clock.sleep(pollMs)) {
      if (await this.#isThere(path)) return path;
      await this.#tell('discover', '');
    }
    throw new DriverError('timeout', `nothing on ${link.interface} answers as ${name} after ${foundMs} ms`);
  }

  async ensureDisconnected({ shelf, slot }: AoePlace): Promise<void> {
    const { clock } = this.#options;
    const [name, path] = [`e${shelf}.${slot}`, `${folder}/e${shelf}.${slot}`];
    if (!(await this.#isThere(path))) return;
    await this.#tell('flush', name);
    for (const until = clock.now() + goneMs; clock.now() < until; await clock.sleep(pollMs)) if (!(await this.#isThere(path))) return;
    throw new DriverError('busy', `${path} is still there ${goneMs} ms after it was given up: somebody has it open`);
  }

  /** One that is loaded already keeps its interfaces: they are the operator's choice. */
  async #ensureModule(link: string): Promise<void> {
    if (await this.#exists('-c', `${folder}/discover`)) return;
    await this.#options.run('modprobe', ['aoe', `aoe_iflist=${link}`]).catch((cause: unknown) => {
      const message = 'the kernel of this host has no ATA over Ethernet (module aoe): choose another volume driver, or a kernel that has it';
      throw new DriverError('unsupported', `${message}: ${messageOf(cause)}`, { cause });
    });
  }

  #isThere(path: string): Promise<boolean> {
    return this.#exists('-b', path);
  }

  async #exists(kind: '-b' | '-c', path: string): Promise<boolean> {
    return (await this.#options.run('test', [kind, path], { okCodes: [0, 1] })).code === 0;
  }

  /** Its control files take a word each. With its end: to `flush`, e1.1 alone means e1.10, too. */
  async #tell(control: 'discover' | 'revalidate' | 'flush', word: string): Promise<void> {
    await this.#options.run('tee', [`${folder}/${control}`], { input: `${word}\0` });
  }
}
