// Volume drivers on a test host, and what an initiator without a guest sees of them.
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Connection, VolumeDriver } from '../../src/drivers/volume/driver.ts';
import { createVolumes, type VolumeDriverName } from '../../src/drivers/volume/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import type { Secret } from '../../src/lib/secret.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import type { TestHost } from './host.ts';
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

export interface Login {
  readonly connection: Connection;
  readonly secret: Secret;
  readonly initiator: string;
}

/** What QEMU's initiator is told: the size of the disk, or why not. */
export async function tryLogin(machine: TestHost, { connection, secret, initiator }: Login): Promise<string> {
  if (connection.protocol !== 'iscsi') throw new Error('not iSCSI');
  const { address, port, target, lun, user } = connection;
  const disk = `driver=iscsi,transport=tcp,portal=${address}:${port},target=${target},lun=${lun},user=${user},password-secret=s,initiator-name=${initiator}`;
  const path = join(machine.directory, 'login-secret');
  await writeFile(path, secret.reveal(), { mode: 0o600 });
  const args = ['info', '--object', `secret,id=s,file=${path}`, '--image-opts', disk];
  const { stdout, stderr } = await machine.run('qemu-img', args, { okCodes: [0, 1], timeoutMs: 20_000 });
  return /virtual size: .*\((\d+) bytes\)/.exec(stdout)?.[1] ?? stderr.trim();
}
