// Writes consoles to disk for hypervisors that cannot do it themselves (containers, Xen): one stream from libvirtd for each running
// domain, appended to its `console.log`. What a guest says while nobody is connected waits in its terminal, a few KiB of it.
// The streams have a connection of their own: a call that comes just as a stream of its connection ends may be lost in libvirtd 9.0, without an
// answer. Here that costs a console some seconds; to stop a guest, its whole deadline.
import { appendFile } from 'node:fs/promises';
import { messageOf } from '../../../lib/errors.ts';
import type { Log } from '../../../lib/log.ts';
import { consoleBytesMax } from '../driver.ts';
import { trimConsole } from './console.ts';
import { getMetadata, listAll, lookupByName } from './procedures.ts';
import { Session, type SessionOptions } from './session.ts';
import { consoleLogPath, metadataNamespace } from './xml.ts';
import type { DomainHandle } from './xdr.ts';

const timeoutMs = 10_000;
/** Whoever starts a guest waits for it. */
const openTimeouts = { allMs: 20_000, callMs: 7_000 } as const;
/** A guest that writes faster than the disk loses what does not fit, not our memory. */
const pendingBytesMax = 1024 * 1024;

export class ConsoleRecorder {
  readonly #session: Session;
  readonly #log: Log;
  /** By name and id: a domain that was started again is another one. */
  readonly #recorded = new Set<string>();

  constructor(options: Pick<SessionOptions, 'uri' | 'log' | 'clock' | 'connectTimeoutMs'>) {
    this.#log = options.log.child({ for: 'consoles' });
    this.#session = new Session({
      ...options, log: this.#log,
      onConnected: () => void this.#recordAll().catch((error: unknown) => this.#log.warn({ error: messageOf(error) }, 'consoles are not recorded')),
    });
  }

  /** Every running domain that is novact's, in whichever cloud. */
  async #recordAll(): Promise<void> {
    const domains = await this.#session.run('list domains', timeoutMs, (calls) => calls.call(listAll()));
    await Promise.all(domains.filter((domain) => domain.id >= 0).map((domain) => this.#record(domain)));
  }

  /** Records this domain if it runs. Never throws: a console is not worth a guest. */
  async record(instanceId: string): Promise<void> {
    try {
      const domain = await this.#session.run(`look up ${instanceId}`, timeoutMs, (calls) => calls.call(lookupByName(instanceId)));
      if (domain.id >= 0) await this.#record(domain);
    } catch (error) {
      this.#log.debug({ instanceId, error: messageOf(error) }, 'no console to record');
    }
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  async #record(domain: DomainHandle): Promise<void> {
    const key = `${domain.name} ${domain.id}`;
    if (this.#recorded.has(key)) return;
    this.#recorded.add(key);
    try {
      await this.#session.run(`record the console of ${domain.name}`, openTimeouts.allMs, async (calls) => {
        const { directory } = parseMetadata(await calls.call(getMetadata(domain, metadataNamespace)));
        const path = consoleLogPath(directory);
        await calls.readConsole(domain, this.#writer(directory, path, () => this.#recorded.delete(key)));
      }, { callMs: openTimeouts.callMs });
    } catch (error) {
      this.#recorded.delete(key);
      this.#log.debug({ domain: domain.name, error: messageOf(error) }, 'console not recorded');
    }
  }

  /** Appends in order. The file is bounded here too, as nobody else does it while novact is busy. */
  #writer(directory: string, path: string, onEnd: () => void): (bytes: Buffer | undefined) => void {
    let last: Promise<unknown> = Promise.resolve();
    let pendingBytes = 0;
    let sinceTrim = 0;
    return (bytes) => {
      if (bytes === undefined) return onEnd();
      if (pendingBytes + bytes.length > pendingBytesMax) return;
      const copy = Buffer.from(bytes);
      pendingBytes += copy.length;
      sinceTrim += copy.length;
      const trim = sinceTrim > 4 * consoleBytesMax;
      if (trim) sinceTrim = 0;
      last = last
        .then(() => appendFile(path, copy))
        .then(() => (trim ? trimConsole(directory) : undefined))
        .catch((error: unknown) => this.#log.debug({ path, error: messageOf(error) }, 'console text lost'))
        .finally(() => (pendingBytes -= copy.length));
    };
  }
}

/** What `domainXml` put into a domain's metadata; empty for a foreign one. */
export function parseMetadata(xml: string): { cloudId: string; directory: string } {
  return { cloudId: attributeOf(xml, 'cloud'), directory: attributeOf(xml, 'directory') };
}

function attributeOf(xml: string, name: string): string {
  const value = new RegExp(`\\s${name}=(?:'([^']*)'|"([^"]*)")`).exec(xml);
  return (value?.[1] ?? value?.[2] ?? '').replace(/&(amp|lt|gt|quot|apos|#39|#34);/g, (_, entity: string) => unescaped[entity] ?? '');
}

const unescaped: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", '#39': "'", '#34': '"' };
