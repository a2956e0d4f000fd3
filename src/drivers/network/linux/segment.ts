// What joins a project's bridges of all hosts, apart from those of others: a VXLAN whose frames go to the hosts that have members, or a
// VLAN on an interface of the machine, tagged by the kernel or by a switch (vlan-switch.ts).
import { DriverError } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import type { NetworkSpec, Segment } from '../driver.ts';
import { quietIPv6, readLink, type Link } from './bridge.ts';
import { checkInteger, checkLinkName } from './names.ts';
import { segmentLink, segmentOf } from './project-links.ts';
import { ensureSwitchPort, isOfSwitch, isRightPort, isSwitch, removeSwitchPort } from './vlan-switch.ts';

export async function ensureSegment(run: Run, network: NetworkSpec): Promise<void> {
  const segment = segmentOf(network);
  const name = segmentLink(segment);
  let found = await readLink(run, name);
  if (found !== undefined && !(await isRight(run, found, { name, segment }))) {
    await removeLink(run, name, found);
    found = undefined;
  }
  if (found?.mtu !== network.mtu) await makeLink(run, name, { segment, network, found });
  await quietIPv6(run, name);
  if (found?.master !== network.bridge) await run('ip', ['link', 'set', 'dev', name, 'master', network.bridge]);
  if (!found?.flags.includes('UP')) await run('ip', ['link', 'set', 'dev', name, 'up']);
  if (segment.kind === 'vxlan') await ensurePeers(run, name, segment.peers);
}

async function isRight(run: Run, link: Link, { name, segment }: { name: string; segment: Segment }): Promise<boolean> {
  const { info_kind: kind, info_data: data } = link.linkinfo ?? {};
  if (segment.kind === 'vxlan') return kind === 'vxlan' && data?.id === segment.id && data.port === segment.port && data.local === segment.local;
  if (isOfSwitch(link)) return segment.interface !== undefined && isRightPort(run, { name, bridge: segment.interface, id: segment.id });
  return kind === 'vlan' && data?.id === segment.id && link.link === segment.interface;
}

const removeLink = async (run: Run, name: string, link: Link): Promise<void> =>
  void (isOfSwitch(link) ? await removeSwitchPort(run, name) : await run('ip', ['link', 'delete', 'dev', name]));

interface WantedLink {
  readonly segment: Segment;
  readonly network: NetworkSpec;
  /** Right, but for its MTU. */
  readonly found: Link | undefined;
}

async function makeLink(run: Run, name: string, { segment, network, found }: WantedLink): Promise<void> {
  const mtu = checkInteger(network.mtu, { kind: 'an MTU', min: 576, max: 65_535 });
  const trunk = segment.kind === 'vlan' ? await checkTrunk(run, segment.interface, network) : undefined;
  if (trunk?.isSwitch === true) return ensureSwitchPort(run, { name, bridge: trunk.name, id: segment.id, mtu });
  if (found !== undefined) return void (await run('ip', ['link', 'set', 'dev', name, 'mtu', String(mtu)]));
  await run('ip', ['link', 'add', ...(trunk === undefined ? [] : ['link', trunk.name]), 'name', name, 'mtu', String(mtu), 'type', ...typeOf(segment)]);
}

function typeOf(segment: Segment): readonly string[] {
  if (segment.kind === 'vlan') return ['vlan', 'id', String(segment.id)];
  return ['vxlan', 'id', String(segment.id), 'dstport', String(segment.port), ...(segment.local === undefined ? [] : ['local', segment.local])];
}

async function checkTrunk(run: Run, name: string | undefined, network: NetworkSpec): Promise<{ name: string; isSwitch: boolean }> {
  if (name === undefined) {
    throw new DriverError('unsupported', `the network ${network.id} is a VLAN, and this host has no interface for it; set vlan_interface`);
  }
  const trunk = await readLink(run, name);
  const refuse = (why: string): never => {
    throw new DriverError('failed', `vlan_interface ${name} cannot carry the networks of projects: ${why} (ip -br link shows all)`);
  };
  if (trunk === undefined) return refuse('there is no such interface; make it, or name another');
  if (trunk.mtu < network.mtu) refuse(`its MTU is ${trunk.mtu}, the network's ${network.mtu}; raise it: ip link set ${name} mtu ${network.mtu}`);
  if (!trunk.flags.includes('UP')) await run('ip', ['link', 'set', 'dev', name, 'up']);
  return { name, isSwitch: await isSwitch(run, name, trunk) };
}

interface ForwardingEntry {
  readonly mac: string;
  readonly dst?: string;
}

const everyone = '00:00:00:00:00:00';

/** Frames whose receiver nobody has heard of go to all hosts with members, and to no others. */
async function ensurePeers(run: Run, name: string, peers: readonly string[]): Promise<void> {
  const { stdout } = await run('bridge', ['-j', 'fdb', 'show', 'dev', name]);
  const entries = (stdout.trim() === '' ? [] : JSON.parse(stdout)) as ForwardingEntry[];
  const held = entries.flatMap(({ mac, dst }) => (mac === everyone && dst !== undefined ? [dst] : []));
  for (const dst of held.filter((one) => !peers.includes(one))) await run('bridge', ['fdb', 'del', everyone, 'dev', name, 'dst', dst]);
  for (const dst of peers.filter((one) => !held.includes(one))) await run('bridge', ['fdb', 'append', everyone, 'dev', name, 'dst', dst]);
  // Where guests were on a host that has left, nobody is.
  const gone = entries.filter(({ mac, dst }) => mac !== everyone && dst !== undefined && !peers.includes(dst));
  for (const { mac, dst = '' } of gone) await run('bridge', ['fdb', 'del', mac, 'dev', name, 'dst', dst], { okCodes: [0, 2, 255] });
}

/** No error if it is not there. */
export async function removeSegment(run: Run, segment: Segment): Promise<void> {
  const name = segmentLink(segment);
  const found = await readLink(run, name);
  if (found !== undefined) await removeLink(run, name, found);
}

/** Can frames be tagged, by the switch that the interface belongs to or by the kernel? That is tried in a namespace that is gone afterwards. */
export async function probeVlan(run: Run, name: string | undefined): Promise<void> {
  const trunk = name === undefined ? undefined : await readLink(run, checkLinkName(name));
  if (name !== undefined && trunk !== undefined && await isSwitch(run, name, trunk)) return;
  const script = 'ip link add name trial0 type veth peer name trial1 && ip link add link trial0 name trial0.7 type vlan id 7';
  const { code, stderr } = await run('unshare', ['--net', 'sh', '-c', script], { okCodes: [0, 1, 2] });
  if (code === 0) return;
  throw new DriverError('unsupported', 'this kernel has no VLANs (8021q), which the network manager vlan needs; try: modprobe 8021q, '
    + 'or install the kernel\'s modules (apt-get install linux-image-$(uname -r)), or set vlan_interface to a bridge of Open vSwitch, '
    + 'or choose the network manager vxlan', { output: stderr });
}

/** Can this kernel make VXLANs? */
export async function probeVxlan(run: Run): Promise<void> {
  const { code, stderr } = await run('unshare', ['--net', 'ip', 'link', 'add', 'name', 'trial0', 'type', 'vxlan', 'id', '7', 'dstport', '4789'],
    { okCodes: [0, 1, 2] });
  if (code === 0) return;
  throw new DriverError('unsupported', 'this kernel has no VXLANs, which the network manager vxlan needs; try: modprobe vxlan', { output: stderr });
}
