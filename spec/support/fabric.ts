// What joins the hosts of a cloud on this machine: a network namespace with a bridge for their management and one for their guests. Root only.
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';

const root = createRun({ log: silentLog });

/** Where a host is on it. */
export interface Place {
  readonly number: number;
  readonly address: string;
  readonly gateway: string;
}

/** Two bridges that nobody has an address on but the shared servers. */
export async function makeFabric(namespace: string, address: string): Promise<void> {
  await root('ip', ['netns', 'add', namespace]);
  const run = createRun({ log: silentLog, networkNamespace: namespace });
  await run('ip', ['link', 'set', 'lo', 'up']);
  for (const bridge of ['management', 'guests']) {
    await run('ip', ['link', 'add', bridge, 'type', 'bridge', 'forward_delay', '0']);
    await run('ip', ['link', 'set', bridge, 'up']);
  }
  await run('ip', ['address', 'add', `${address}/24`, 'dev', 'management']);
}

export async function connectHost(fabric: string, namespace: string, { number, address, gateway }: Place): Promise<void> {
  const run = createRun({ log: silentLog, networkNamespace: namespace });
  for (const network of ['management', 'guests']) {
    const plug = `${network.slice(0, 5)}${number}`;
    await root('ip', ['-n', namespace, 'link', 'add', `${network}0`, 'type', 'veth', 'peer', 'name', plug, 'netns', fabric]);
    await root('ip', ['-n', fabric, 'link', 'set', plug, 'master', network, 'up']);
  }
  await run('ip', ['address', 'add', `${address}/24`, 'dev', 'management0']);
  await run('ip', ['link', 'set', 'management0', 'up']);
  await run('ip', ['route', 'add', 'default', 'via', gateway]);
}

/** The same for a machine under QEMU: the names of the taps that its cards are to have. They stay when it is switched off. */
export async function plugMachine(fabric: string, number: number): Promise<readonly string[]> {
  const run = createRun({ log: silentLog, networkNamespace: fabric });
  const plugs = [];
  for (const network of ['management', 'guests']) {
    const plug = `${network.slice(0, 5)}${number}`;
    await run('ip', ['tuntap', 'add', plug, 'mode', 'tap']);
    await run('ip', ['link', 'set', plug, 'master', network, 'up']);
    plugs.push(plug);
  }
  return plugs;
}

export async function endNamespace(namespace: string): Promise<void> {
  const { stdout } = await root('ip', ['netns', 'pids', namespace], { okCodes: [0, 1, 255] });
  for (const pid of stdout.split('\n').filter((line) => line !== '')) await root('kill', ['-9', pid], { okCodes: [0, 1] });
  await root('ip', ['netns', 'delete', namespace], { okCodes: [0, 1] });
}
