// QEMU's initiators without a guest: what a compute host sees of a volume that is served to it.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Connection } from '../../src/drivers/volume/driver.ts';
import type { Run } from '../../src/lib/exec.ts';
import type { Secret } from '../../src/lib/secret.ts';

/** Where it connects from, and a folder for a while. */
export interface InitiatorHost {
  readonly run: Run;
  readonly directory: string;
}

export interface Login {
  readonly connection: Connection;
  readonly secret: Secret;
  readonly initiator: string;
}

const timeoutMs = 20_000;

/** The size of the disk in bytes, or why it cannot be opened. */
export async function tryLogin(host: InitiatorHost, login: Login): Promise<string> {
  const { stdout, stderr } = await host.run('qemu-img', ['info', ...(await disk(host, login))], { okCodes: [0, 1], timeoutMs });
  return /virtual size: .*\((\d+) bytes\)/.exec(stdout)?.[1] ?? stderr.trim();
}

/** Does that with the disk, as qemu-io has it: `write -P 0x61 1M 64k`. Throws when it fails, or reads something else than a command says. */
export async function useDisk(host: InitiatorHost, login: Login, ...commands: readonly string[]): Promise<void> {
  await host.run('qemu-io', [...commands.flatMap((command) => ['-c', command]), ...(await disk(host, login))], { timeoutMs });
}

async function disk({ directory }: InitiatorHost, { connection, secret, initiator }: Login): Promise<readonly string[]> {
  const path = join(directory, 'login-secret');
  await writeFile(path, secret.reveal(), { mode: 0o600 });
  return ['--object', `secret,id=s,file=${path}`, '--image-opts', optionsOf(connection, initiator)];
}

function optionsOf(connection: Connection, initiator: string): string {
  if (connection.protocol === 'iscsi') {
    const { address, port, target, lun, user } = connection;
    return `driver=iscsi,transport=tcp,portal=${address}:${port},target=${target},lun=${lun},user=${user},password-secret=s,initiator-name=${initiator}`;
  }
  if (connection.protocol !== 'nbd') throw new Error(`QEMU does not connect by ${connection.protocol}`);
  return `driver=nbd,server.type=inet,server.host=${connection.address},server.port=${connection.port},export=${connection.exportName}`;
}
