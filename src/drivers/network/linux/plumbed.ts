// What this host has plumbed, in files beside those of the DHCP servers: a network that is wanted no more can be taken away by a process that
// did not make it, when its row may be gone.
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NetworkSpec } from '../driver.ts';
import { replaceFile, type DnsmasqFiles } from './dnsmasq.ts';

export async function rememberNetwork(files: DnsmasqFiles, network: NetworkSpec): Promise<void> {
  await mkdir(files.directory, { recursive: true, mode: 0o755 });
  await replaceFile(files.network, JSON.stringify(network));
}

export async function plumbedNetworks(stateDirectory: string): Promise<NetworkSpec[]> {
  const names = await readdir(stateDirectory, { withFileTypes: true }).catch(ifMissing([]));
  const found = await Promise.all(names.filter((entry) => entry.isDirectory()).map(async ({ name }) => {
    const text = await readFile(join(stateDirectory, name, 'network.json'), 'utf8').catch(ifMissing(undefined));
    return text === undefined ? [] : [JSON.parse(text) as NetworkSpec];
  }));
  return found.flat();
}

const ifMissing = <T>(value: T) => (error: unknown): T => {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  return value;
};
