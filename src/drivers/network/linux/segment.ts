// What joins a project's bridges of all hosts, apart from those of others: a VXLAN whose frames go to the hosts that have members, or a
// VLAN on an interface of the machine.
import { DriverError } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import type { NetworkSpec, Segment } from '../driver.ts';
import { quietIPv6, readLink, type Link } from './bridge.ts';
import { checkInteger } from './names.ts';
import { segmentLink, segmentOf } from './project-links.ts';

export async function ensureSegment(run: Run, network: NetworkSpec): Promise<void> {
  const segment = segmentOf(network);
  const name = segmentLink(segment);
  let found = await readLink(run, name);
  if (found !== undefined && !isRight(found, segment)) {
    await run('ip', ['link', 'delete', 'dev', name]);
    found = undefined;
  }
  if (found === undefined) await addLink(run, name, { segment, network });
  if (found !== undefined && found.mtu !== network.mtu) await run('ip', ['link', 'set', 'dev', name, 'mtu', String(network.mtu)]);
  await quietIPv6(run, name);
  if (found?.master !== network.bridge) await run('ip', ['link', 'set', 'dev', name, 'master', network.bridge]);
  if (!found?.flags.includes('UP')) await run('ip', ['link', 'set', 'dev', name, 'up']);
  if (segment.kind === 'vxlan') await ensurePeers(run, name, segment.peers);
}

function isRight(link: Link, segment: Segment): boolean {
  const { info_kind: kind, info_data: data } = link.linkinfo ?? {};
  if (segment.kind === 'vlan') return kind === 'vlan' && data?.id === segment.id && link.link === segment.interface;
  return kind === 'vxlan' && data?.id === segment.id && data.port === segment.port && data.local === segment.local;
}

async function addLink(run: Run, name: string, { segment, network }: { segment: Segment; network: NetworkSpec }): Promise<void> {
  const mtu = String(checkInteger(network.mtu, { kind: 'an MTU', min: 576, max: 65_535 }));
  if (segment.kind === 'vxlan') {
    const local = segment.local === undefined ? [] : ['local', segment.local];
    await run('ip', ['link', 'add', 'name', name, 'mtu', mtu, 'type', 'vxlan', 'id', String(segment.id), 'dstport', String(segment.port), ...local]);
    return;
  }
  const trunk = await checkTrunk(run, segment.interface, network);
  await run('ip', ['link', 'add', 'link', trunk, 'name', name, 'mtu', mtu, 'type', 'vlan', 'id', String(segment.id)]);
}

async function checkTrunk(run: Run, name: string | undefined, network: NetworkSpec): Promise<string> {
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
  return name;
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
  if ((await readLink(run, segmentLink(segment))) !== undefined) await run('ip', ['link', 'delete', 'dev', segmentLink(segment)]);
}

/** Can this kernel tag frames? Tried in a namespace that is gone afterwards, for there is no other way to know. */
export async function probeVlan(run: Run): Promise<void> {
  const script = 'ip link add name trial0 type veth peer name trial1 && ip link add link trial0 name trial0.7 type vlan id 7';
  const { code, stderr } = await run('unshare', ['--net', 'sh', '-c', script], { okCodes: [0, 1, 2] });
  if (code === 0) return;
  throw new DriverError('unsupported', 'this kernel has no VLANs (8021q), which the network manager vlan needs; try: modprobe 8021q, '
    + 'or install the kernel\'s modules (apt-get install linux-image-$(uname -r)), or choose the network manager vxlan', { output: stderr });
}

/** Can this kernel make VXLANs? */
export async function probeVxlan(run: Run): Promise<void> {
  const { code, stderr } = await run('unshare', ['--net', 'ip', 'link', 'add', 'name', 'trial0', 'type', 'vxlan', 'id', '7', 'dstport', '4789'],
    { okCodes: [0, 1, 2] });
  if (code === 0) return;
  throw new DriverError('unsupported', 'this kernel has no VXLANs, which the network manager vxlan needs; try: modprobe vxlan', { output: stderr });
}
