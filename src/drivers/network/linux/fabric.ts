// The interface that joins a network's bridges of all hosts: made part of the bridge, and let go when the network does not want it any
// more. It belongs to the machine: what carries an address or serves another bridge is refused, and nothing on it is ever removed.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DriverError } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import type { NetworkSpec } from '../driver.ts';
import { readLink, type Link } from './bridge.ts';
import { checkLinkName } from './names.ts';

/** `file` remembers across restarts which interface was joined by us. */
export async function ensureFabric(run: Run, network: NetworkSpec, file: string): Promise<void> {
  const wanted = network.flatInterface === undefined ? undefined : checkLinkName(network.flatInterface);
  const before = (await readFile(file, 'utf8').catch(() => '')).trim();
  if (before !== '' && before !== wanted) {
    if ((await readLink(run, checkLinkName(before)))?.master === network.bridge) await run('ip', ['link', 'set', 'dev', before, 'nomaster']);
    await rm(file, { force: true });
  }
  if (wanted === undefined) return;
  const link = await readLink(run, wanted);
  checkFabric(wanted, link, network);
  if (link.master !== network.bridge) {
    await mkdir(dirname(file), { recursive: true, mode: 0o755 });
    await writeFile(file, `${wanted}\n`, { mode: 0o644 });
    await run('ip', ['link', 'set', 'dev', wanted, 'master', network.bridge]);
  }
  if (!link.flags.includes('UP')) await run('ip', ['link', 'set', 'dev', wanted, 'up']);
}

function checkFabric(name: string, link: Link | undefined, network: NetworkSpec): asserts link is Link {
  const refuse = (why: string, remedy: string): never => {
    throw new DriverError('failed', `flat_interface ${name} cannot join the guests' bridges of the hosts: ${why}; ${remedy}`);
  };
  const another = 'name an interface that is for this alone (ip -br link shows all)';
  if (link === undefined) return refuse('there is no such interface', `make it, or ${another}`);
  if (link.link_type === 'loopback' || link.linkinfo?.info_kind === 'bridge') return refuse('it is no port of a network', another);
  if (link.master === network.bridge) return;
  if (link.master !== undefined) return refuse(`it is part of ${link.master}`, `${another}, or take it out: ip link set ${name} nomaster`);
  const address = link.addr_info?.find((entry) => entry.scope !== 'link');
  if (address !== undefined) {
    const text = `${address.local}/${address.prefixlen}`;
    return refuse(`it carries the address ${text}, which would be lost to this host`, `${another}, or remove it: ip address delete ${text} dev ${name}`);
  }
  if (link.mtu < network.mtu) {
    refuse(`its MTU is ${link.mtu}, the network's ${network.mtu}`, `raise it (ip link set ${name} mtu ${network.mtu}) or set mtu to ${link.mtu} on all hosts`);
  }
}
