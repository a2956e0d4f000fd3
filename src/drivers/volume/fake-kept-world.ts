// Fake volumes that outlive the process, for trials: a file that is written whole at each change. What is exported is told again after a start.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FakeVolumeWorld, type FakeVolume } from './fake.ts';

interface Kept {
  readonly volumes: Readonly<Record<string, FakeVolume>>;
  readonly snapshots: Readonly<Record<string, FakeVolume>>;
}

export const openKeptVolumes = (stateDirectory: string): FakeVolumeWorld => new KeptVolumes(stateDirectory);

class KeptVolumes extends FakeVolumeWorld {
  readonly #path: string;

  constructor(stateDirectory: string) {
    super();
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
    this.#path = join(stateDirectory, 'fake-volumes.json');
    const kept = readKept(this.#path);
    for (const [id, volume] of Object.entries(kept.volumes)) this.volumes.set(id, volume);
    for (const [id, volume] of Object.entries(kept.snapshots)) this.snapshots.set(id, volume);
  }

  override changed(): void {
    const kept: Kept = { volumes: Object.fromEntries(this.volumes), snapshots: Object.fromEntries(this.snapshots) };
    writeFileSync(`${this.#path}.new`, JSON.stringify(kept), { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
  }
}

function readKept(path: string): Kept {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Kept;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { volumes: {}, snapshots: {} };
    throw error;
  }
}
