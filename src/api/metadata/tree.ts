// What the metadata service says, as a tree: pure, made from one instance's row. Directories list their children as EC2 does.
import type { InstanceMetadata } from '../../db/metadata.ts';

export interface Directory {
  readonly [name: string]: Node;
}

/** A text, bytes, a text that costs a query and is made only when it is asked for, or more of the tree. */
export type Node = string | Buffer | (() => Promise<string>) | Directory;

export interface TreeContext {
  readonly region: string;
  /** Instances are `<id>.<dnsDomain>`. */
  readonly dnsDomain: string;
  /** Nova's list of all instances of a project, as lines `ADDRESS slots=CORES`. */
  readonly listProject: (projectId: string) => Promise<string>;
}

/** Every version that EC2 ever had; all of them tell the same. */
export const versions: readonly string[] = [
  '1.0', '2007-01-19', '2007-03-01', '2007-08-29', '2007-10-10', '2007-12-15', '2008-02-01', '2008-09-01', '2009-04-04', '2011-01-01', '2011-05-01',
  '2012-01-12', '2014-02-25', '2014-11-05', '2015-10-20', '2016-04-19', '2016-06-30', '2016-09-02', '2018-03-28', '2018-08-17', '2018-09-24',
  '2019-10-01', '2020-10-27', '2021-01-03', '2021-03-23', '2021-07-15', '2022-09-24', '2024-04-11', 'latest',
];

export function metadataTree(instance: InstanceMetadata, context: TreeContext): Directory {
  return {
    dynamic: { 'instance-identity': { document: identityDocument(instance, context) } },
    'meta-data': withoutEmpty(metaData(instance, context)),
    ...(instance.userData === null || instance.userData === '' ? {} : { 'user-data': Buffer.from(instance.userData, 'base64') }),
  };
}

function metaData(instance: InstanceMetadata, context: TreeContext): Record<string, Node | null> {
  const hostname = `${instance.instanceId}.${context.dnsDomain}`;
  const groupNames = instance.securityGroups.map((group) => group.name).join('\n');
  return {
    'ami-id': instance.imageId,
    'ami-launch-index': String(instance.launchIndex),
    'ami-manifest-path': instance.imageLocation ?? '(unknown)',
    'block-device-mapping': blockDevices(instance),
    hostname,
    'instance-action': 'none',
    'instance-id': instance.instanceId,
    'instance-life-cycle': 'on-demand',
    'instance-type': instance.instanceType,
    ipv6: instance.ipv6Address,
    'kernel-id': instance.kernelId,
    'local-hostname': hostname,
    'local-ipv4': instance.address,
    mac: instance.mac,
    mpi: mpi(instance, context),
    network: { interfaces: { macs: { [instance.mac]: networkInterface(instance, { hostname, groupNames }) } } },
    placement: { 'availability-zone': instance.zone, region: context.region },
    'public-hostname': hostname,
    'public-ipv4': publicAddress(instance),
    'public-keys': instance.publicKey === null ? null : { 0: { 'openssh-key': instance.publicKey } },
    'ramdisk-id': instance.ramdiskId,
    'reservation-id': instance.reservationId,
    'security-groups': groupNames,
    services: { domain: context.dnsDomain, partition: 'aws' },
  };
}

/** Volumes are `ebs1`, `ebs2` …, by the order of their devices. */
function blockDevices({ rootDeviceName, volumeDevices }: InstanceMetadata): Directory {
  const short = (device: string): string => device.replace(/^\/dev\//, '');
  const volumes = volumeDevices.filter((device) => device !== rootDeviceName).map((device, index) => [`ebs${index + 1}`, short(device)] as const);
  return { ami: short(rootDeviceName), ...Object.fromEntries(volumes), root: rootDeviceName };
}

/** As the API shows it: without a floating address, the one that it can be reached at. */
const publicAddress = ({ publicAddress: floating, address }: InstanceMetadata): string => floating ?? address;

const networkInterface = (instance: InstanceMetadata, derived: { hostname: string; groupNames: string }): Directory => ({
  'device-number': '0',
  ...(instance.ipv6Address === null ? {} : { ipv6s: instance.ipv6Address }),
  'local-hostname': derived.hostname,
  'local-ipv4s': instance.address,
  mac: instance.mac,
  'owner-id': instance.projectId,
  'public-hostname': derived.hostname,
  'public-ipv4s': publicAddress(instance),
  'security-group-ids': instance.securityGroups.map((group) => group.id).join('\n'),
  'security-groups': derived.groupNames,
  'subnet-ipv4-cidr-block': instance.networkCidr,
  ...(instance.ipv6Cidr === null ? {} : { 'subnet-ipv6-cidr-blocks': instance.ipv6Cidr }),
});

/** Nova lists the project's instances under the name of the key; a name that cannot be one part of a path has no list. */
function mpi(instance: InstanceMetadata, context: TreeContext): Directory | null {
  if (instance.keyName === null || instance.keyName === '' || instance.keyName.includes('/')) return null;
  return { [instance.keyName]: () => context.listProject(instance.projectId) };
}

function withoutEmpty(nodes: Record<string, Node | null>): Directory {
  return Object.fromEntries(Object.entries(nodes).filter((entry): entry is [string, Node] => entry[1] !== null));
}

function identityDocument(instance: InstanceMetadata, context: TreeContext): string {
  return JSON.stringify({
    accountId: instance.projectId,
    architecture: instance.architecture,
    availabilityZone: instance.zone,
    billingProducts: null,
    devpayProductCodes: null,
    marketplaceProductCodes: null,
    imageId: instance.imageId,
    instanceId: instance.instanceId,
    instanceType: instance.instanceType,
    kernelId: instance.kernelId,
    pendingTime: instance.launchedAt.toISOString().replace(/\.\d+Z$/, 'Z'),
    privateIp: instance.address,
    ramdiskId: instance.ramdiskId,
    region: context.region,
    version: '2017-09-30',
  }, null, 2);
}

const isDirectory = (node: Node): node is Directory => typeof node === 'object' && !Buffer.isBuffer(node);

/** The node at a path; undefined if there is none. Never a name that JavaScript's objects have of themselves. */
export function findNode(root: Directory, path: readonly string[]): Node | undefined {
  let node: Node = root;
  for (const name of path) {
    if (!isDirectory(node) || !Object.hasOwn(node, name)) return undefined;
    const next: Node | undefined = node[name];
    if (next === undefined) return undefined;
    node = next;
  }
  return node;
}

/** What a GET of the node answers. `keyName` names the public key in the listing `0=NAME`. */
export async function renderNode(node: Node, at: { path: readonly string[]; keyName: string | null }): Promise<string | Buffer> {
  if (typeof node === 'function') return node();
  if (!isDirectory(node)) return node;
  const isKeys = at.path.at(-1) === 'public-keys';
  // EC2 marks directories, but not those right below the version.
  const marks = at.path.length > 0;
  return Object.entries(node).map(([name, child]) => {
    if (isKeys) return `${name}=${at.keyName ?? ''}`;
    return marks && isDirectory(child) ? `${name}/` : name;
  }).join('\n');
}
