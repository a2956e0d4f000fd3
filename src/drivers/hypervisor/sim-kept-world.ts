// Simulated guests that outlive the process, as real ones do: a file for each, written before a call returns. A machine that was restarted
// finds them powered off.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DomainSpec, HypervisorEvent } from './driver.ts';
import { SimWorld } from './sim.ts';

interface KeptGuest {
  readonly spec: DomainSpec;
  readonly isRunning: boolean;
  readonly bootId: string;
}

export const openKeptWorld = (stateDirectory: string): SimWorld => new KeptWorld(join(stateDirectory, 'sim'));

class KeptWorld extends SimWorld {
  readonly #folder: string;
  readonly #bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  readonly #written = new Map<string, string>();

  constructor(folder: string) {
    super();
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(folder).filter((one) => one.endsWith('.json'))) this.#load(name);
  }

  override emit(event: HypervisorEvent): void {
    if (event.type === 'domain') this.#save(event.instanceId);
    super.emit(event);
  }

  #load(name: string): void {
    const { spec, isRunning, bootId } = JSON.parse(readFileSync(join(this.#folder, name), 'utf8')) as KeptGuest;
    const goesOn = isRunning && bootId === this.#bootId;
    this.domains.set(spec.instanceId, {
      spec, state: goesOn ? 'running' : 'shutoff', reason: 'unknown', timers: [],
      plugged: goesOn ? spec.disks : [], diskBytes: new Map(),
      console: Buffer.from(`sim: ${spec.instanceId} ${goesOn ? 'goes on' : 'is off'}; its console was not kept\r\n`),
    });
  }

  #save(instanceId: string): void {
    const domain = this.domains.get(instanceId);
    const path = join(this.#folder, `${instanceId}.json`);
    const kept: KeptGuest | undefined = domain && { spec: domain.spec, isRunning: domain.state === 'running', bootId: this.#bootId };
    const text = JSON.stringify(kept) ?? '';
    if (this.#written.get(instanceId) === text) return;
    if (kept === undefined) {
      this.#written.delete(instanceId);
      return rmSync(path, { force: true });
    }
    this.#written.set(instanceId, text);
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
}
