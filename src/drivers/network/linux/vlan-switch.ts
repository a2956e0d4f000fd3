// VLANs by Open vSwitch: what carries the VLANs of projects may be one of its bridges, of which the host's cable is a port. A network's link to the other
// hosts is a port of that bridge then, and the switch tags its frames: for kernels without 8021q, and for hosts whose cable is a switch's already.
import type { Run } from '../../../lib/exec.ts';
import type { Link } from './bridge.ts';
import { checkLinkName } from './names.ts';

/** A port of it, by the datapath in the kernel and by that in user space, where it is a tap; so are the bridges themselves. */
const kinds: readonly (string | undefined)[] = ['openvswitch', 'tun'];
const patience = '--timeout=10';

const vsctl = async (run: Run, ...args: readonly string[]): Promise<string> => (await run('ovs-vsctl', [patience, ...args])).stdout.trim();

/** Can this link be a port or a bridge of the switch? */
export const isOfSwitch = (link: Link): boolean => kinds.includes(link.linkinfo?.info_kind);

/** Is it one of its bridges? Errors: `failed` when the switch does not answer. */
export async function isSwitch(run: Run, name: string, link: Link): Promise<boolean> {
  if (!isOfSwitch(link)) return false;
  const script = `command -v ovs-vsctl > /dev/null || exit 3; exec ovs-vsctl ${patience} br-exists "$0"`;
  const { code } = await run('sh', ['-c', script, checkLinkName(name)], { okCodes: [0, 2, 3] });
  return code === 0;
}

export interface SwitchPort {
  readonly name: string;
  /** The bridge that it is a port of. */
  readonly bridge: string;
  /** The VLAN's number. */
  readonly id: number;
  readonly mtu: number;
}

/** After: the port is there, a link of this machine as well, whatever there was of that name in the switch. */
export async function ensureSwitchPort(run: Run, { name, bridge, id, mtu }: SwitchPort): Promise<void> {
  await vsctl(run, '--', '--may-exist', 'add-port', bridge, name, '--', 'set', 'port', name, `tag=${id}`, 'vlan_mode=access',
    '--', 'set', 'interface', name, 'type=internal', `mtu_request=${mtu}`);
}

export async function isRightPort(run: Run, { name, bridge, id }: Omit<SwitchPort, 'mtu'>): Promise<boolean> {
  const tag = await vsctl(run, '--if-exists', 'get', 'port', name, 'tag');
  return tag === String(id) && (await vsctl(run, 'port-to-br', name)) === bridge;
}

export async function removeSwitchPort(run: Run, name: string): Promise<void> {
  await vsctl(run, '--if-exists', 'del-port', name);
}
