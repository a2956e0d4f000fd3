// Volume drivers on a test host.
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { VolumeDriver } from '../../src/drivers/volume/driver.ts';
import { createVolumes, type VolumeDriverName } from '../../src/drivers/volume/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { up, type TestHost } from './host.ts';
import type { VolumeFixture } from './volume-contract.ts';

/** Of the host itself, and as other hosts see it. */
export const hostAddress = '10.97.3.1';
/** Another that the host has, as a stranger would. */
export const strangerAddress = '10.97.3.2';

export async function volumesOn(machine: TestHost, name: VolumeDriverName, options: Record<string, unknown> = {}): Promise<VolumeDriver> {
  const stateDirectory = join(machine.directory, `volumes-${name}`);
  const driver = createVolumes(name, options, { run: machine.run, log, clock, stateDirectory, address: hostAddress });
  await driver.probe();
  return driver;
}

export const fileOf = (machine: TestHost, name: VolumeDriverName, volumeId: string): string =>
  join(machine.directory, `volumes-${name}`, 'volumes', 'volumes', `${volumeId}.raw`);

export async function giveAddresses(machine: TestHost): Promise<void> {
  for (const address of [hostAddress, strangerAddress]) await machine.run('ip', ['addr', 'replace', `${address}/32`, 'dev', 'lo']);
}

/** The fixture of the contract over a driver of files. */
export async function fileFixture(machine: TestHost, name: VolumeDriverName): Promise<VolumeFixture> {
  const withFile = async <T>(id: string, work: (file: Awaited<ReturnType<typeof open>>) => Promise<T>): Promise<T> => {
    const file = await open(fileOf(machine, name, id), 'r+');
    return work(file).finally(() => file.close());
  };
  const driver = await volumesOn(machine, name);
  return {
    driver,
    reopen: () => volumesOn(machine, name),
    write: (id, offset, text) => withFile(id, async (file) => void (await file.write(text, offset))),
    read: (id, offset, length) => withFile(id, async (file) => (await file.read(Buffer.alloc(length), 0, length, offset)).buffer.toString()),
    tooManyBytes: 2 ** 46,
    close: async () => {
      await driver.close();
      await machine.down();
    },
  };
}

/** The fixture on a host of its own. */
export async function addressedFixture(host: string, name: VolumeDriverName): Promise<VolumeFixture> {
  await (await up(host)).down();
  const machine = await up(host);
  await giveAddresses(machine);
  return fileFixture(machine, name);
}
