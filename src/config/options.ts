// Every setting of novact, in one table: its type, its default and a sentence for people. The file key, the environment
// variable and the flag are all made from the name: `apiPort` is `api_port`, `NOVACT_API_PORT` and `--api-port`.
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { isNetwork64 } from '../lib/ipv6.ts';

/** The parts of novact that can be processes of their own: `bin/novact-NAME`. */
export const roleNames = ['api', 'scheduler', 'compute', 'network', 'volume', 'objectstore'] as const;
export type RoleName = (typeof roleNames)[number];

/** Each role has an ops port of its own, so that all of them can run on one machine. */
export const opsPortOf: Readonly<Record<RoleName, number>> = { api: 8779, scheduler: 8781, compute: 8782, network: 8783, volume: 8784, objectstore: 8785 };

/** Facts of the machine that some defaults depend on; passed in, so that specs need no other machine. */
export interface Surroundings {
  readonly isRoot: boolean;
  readonly home: string;
  readonly hostname: string;
  /** The folder novact was cloned into or installed to. */
  readonly installation: string;
  /** The one role that this process runs; absent in the command `novact`, which runs all. */
  readonly role?: RoleName | undefined;
}

export interface Option<T = unknown> {
  readonly text: string;
  readonly type: z.ZodType<T>;
  /** Absent: the setting is undefined until it is set. */
  readonly default?: (around: Surroundings) => T;
  /** Never shown in full. */
  readonly secret?: boolean;
  /** What the flag means without a value: `--tls`. */
  readonly bare?: string;
}

const whole = (least: number, most: number) =>
  z.coerce.number(`a whole number from ${least} to ${most} is needed`).int().min(least).max(most);
const port = whole(1, 65_535);
const word = (what: string, pattern: RegExp) => z.string().regex(pattern, what);
const address = z.string().refine((text) => ipaddr.isValid(text), 'an IP address is needed');
const name = word('letters, digits, dots, dashes and underscores are allowed, at most 63', /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/);
const databaseUrl = word('postgres://… or pglite:DIRECTORY is needed', /^(postgres(ql)?:\/\/|pglite:).+/);
const redisUrl = word('redis://…, rediss://… or redis+sentinel://HOST:PORT,…/NAME is needed', /^(rediss?|rediss?\+sentinel):\/\/.+/);
const httpUrl = word('http://… or https://… is needed', /^https?:\/\/[^\s/]+/);
const libvirtUri = word('a libvirt URI such as qemu:///system is needed', /^[a-z]+(\+[a-z]+)?:\/\//);
const interfaceName = word('an interface name of at most 15 characters is needed', /^[A-Za-z][A-Za-z0-9_-]{0,14}$/);
const ldapUrls = word('ldap://HOST[:PORT] or ldaps://HOST[:PORT] is needed, several with commas between', /^ldaps?:\/\/[^\s/,]+(,ldaps?:\/\/[^\s/,]+)*$/);
const ldapAttribute = word('the name of an attribute is needed', /^[A-Za-z][A-Za-z0-9;-]{0,127}$/);
const distinguishedName = word('a name such as ou=Users,dc=example,dc=com is needed', /^[A-Za-z][A-Za-z0-9.-]*=[^\n]+$/);
const ldapFilter = word('a filter in parentheses is needed, such as (objectClass=person)', /^\([^\n]+\)$/);
const path = z.string().min(1, 'a path is needed');

/** The smallest useful range has room for a gateway, a broadcast address and a guest; the largest is bounded because each address is a row. */
const range = z.string().refine((text) => {
  if (!ipaddr.IPv4.isValidCIDR(text)) return false;
  const [network, bits] = ipaddr.IPv4.parseCIDR(text);
  return bits >= 16 && bits <= 29 && ipaddr.IPv4.networkAddressFromCIDR(text).toString() === network.toString();
}, 'a private IPv4 range such as 10.45.0.0/20 is needed, from /16 to /29, without host bits');

const network64 = z.string().refine(isNetwork64, 'an IPv6 /64 in its shortest form is needed, such as fd00:45::/64');

const hostNames = z.string().refine(
  (text) => text.split(',').every((one) => ipaddr.isValid(one) || /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(one)),
  'names of hosts or addresses are needed, with commas between',
);

const nameServers = z.string().refine((text) => text.split(',').every((one) => ipaddr.IPv4.isValidFourPartDecimal(one)), 'IPv4 addresses are needed');

/** `100-4094`: both ends included. */
const numbers = (least: number, most: number) => z.string().refine((text) => {
  const [min = 0, max = 0, ...rest] = text.split('-').map(Number);
  return /^\d{1,5}-\d{1,5}$/.test(text) && rest.length === 0 && least <= min && min <= max && max <= most;
}, `a range of numbers is needed, within ${least}-${most}`);

function option<S extends z.ZodType>(
  text: string, type: S, rest: { default: (around: Surroundings) => z.output<S>; secret?: boolean },
): Option<z.output<S>>;
function option<S extends z.ZodType>(text: string, type: S, rest?: { secret?: boolean }): Option<z.output<S> | undefined>;
function option(text: string, type: z.ZodType, rest: Partial<Option> = {}): Option {
  return { text, type, ...rest };
}

/** One of a few words. */
function choice<const T extends string>(text: string, words: readonly T[], fallback: NoInfer<T>, bare?: NoInfer<T>): Option<T> {
  const isWord = (value: unknown): value is T => words.some((one) => one === value);
  const type = z.custom<T>(isWord, `one of ${words.join(', ')} is needed`);
  return { text, type, default: () => fallback, ...(bare === undefined ? {} : { bare }) };
}

export const options = {
  state: option('Folder of everything novact keeps: database, objects, disks, keys.', path, {
    default: (around) => (around.isRoot ? '/var/lib/novact' : join(around.home, '.local/share/novact')),
  }),
  bind: option('Address on which the EC2, S3 and dashboard servers listen.', address, { default: () => '127.0.0.1' }),
  apiPort: option('Port of the EC2, admin and STS API.', port, { default: () => 8773 }),
  s3Port: option('Port of the S3 API.', port, { default: () => 3333 }),
  tls: choice(
    'Do EC2 and S3 speak TLS, with certificates of the cloud\'s authority (docs/guide/tls.md): no, yes (nothing else is answered), or both with plain HTTP?',
    ['no', 'yes', 'both'], 'no', 'yes',
  ),
  tlsNames: option('More names and addresses in those certificates, with commas between. Those of this host and of the URLs are there anyway.', hostNames),
  metadataPort: option('Port to which guests\' requests for 169.254.169.254 are led.', port, { default: () => 8775 }),
  dashboardPort: option('Port of the web dashboard.', port, { default: () => 8780 }),
  opsPort: option(
    'Port of health, metrics and status, always on 127.0.0.1. Default: 8779; scheduler 8781, compute 8782, network 8783, volume 8784, objectstore 8785.',
    port, { default: ({ role }) => opsPortOf[role ?? 'api'] },
  ),
  databaseUrl: option('Unset: a private PostgreSQL in the state folder. Else postgres://… or pglite:DIRECTORY.', databaseUrl, { secret: true }),
  masterKey: option('File with the key that seals secrets in the database: the same on every host. Unset: master.key in the state folder.', path),
  host: option('Name of this host in the cloud.', name, { default: (around) => around.hostname }),
  zone: option('Availability zone of this host.', name, { default: () => 'nova' }),
  region: option('Name of the region.', name, { default: () => 'nova' }),
  hypervisor: choice('What runs the guests: libvirt, or sim (in memory, for trials and tests).', ['libvirt', 'sim'], 'libvirt'),
  libvirtUri: option('Which libvirt driver: qemu:///system, lxc:///system or xen:///system.', libvirtUri, {
    default: () => 'qemu:///system',
  }),
  libvirtSocket: option('Socket of the libvirt daemon.', path, { default: () => '/run/libvirt/libvirt-sock' }),
  networkManager: choice(
    'How guests get their networks: one for all, with DHCP (flat-dhcp) or addresses told by a drive (flat), or one for each project (vlan, vxlan).',
    ['flat', 'flat-dhcp', 'vlan', 'vxlan'], 'flat-dhcp',
  ),
  networkDriver: option('What plumbs networks: linux or fake. Unset: linux, with the hypervisor sim fake.', z.enum(['linux', 'fake'])),
  networkNamespace: option('Network namespace in which the host\'s bridges and rules are made. Unset: the machine\'s own.', name),
  fixedRange: option('Range from which guests get their addresses, with the managers flat and flat-dhcp.', range, { default: () => '10.45.0.0/20' }),
  projectRange: option(
    'Range of each project\'s own network, the same for all, with the managers vlan and vxlan.', range, { default: () => '172.31.0.0/20' },
  ),
  ipv6Range: option('IPv6 network of the guests beside fixed_range, with the manager flat-dhcp on hosts not joined: a /64. Unset: no IPv6.', network64),
  nameServers: option('Name servers that guests are told with the manager flat, with commas between; novact serves no names there. Unset: none.', nameServers),
  vlanInterface: option(
    'Interface that carries the projects\' VLANs, or a bridge of Open vSwitch with it as a port; what is behind it must let the tags pass.', interfaceName,
  ),
  vlanRange: option('Numbers of the VLANs that projects may get.', numbers(1, 4094), { default: () => '100-4094' }),
  vxlanRange: option('Numbers of the VXLANs that projects may get.', numbers(4096, 65_535), { default: () => '4096-65535' }),
  vxlanPort: option('UDP port on which hosts send each other the frames of VXLANs.', port, { default: () => 4789 }),
  bridge: option('Name of the guests\' bridge, at most 15 characters.', interfaceName, {
    default: () => 'novact0',
  }),
  mtu: option('Largest packet on the guests\' network.', whole(576, 9216), { default: () => 1500 }),
  dnsDomain: option('DNS domain of the guests.', name, { default: () => 'novact.internal' }),
  scheduler: choice('How a host is chosen: simple (the least loaded) or chance.', ['chance', 'simple'], 'simple'),
  authDriver: choice('Where users and projects are kept: novact\'s database (db), or a directory (ldap: docs/guide/ldap.md).', ['db', 'ldap'], 'db'),
  lockoutAttempts: option('Wrong signatures with an access key, or passwords of a user, after which it is locked out. 0: never.', whole(0, 1000), {
    default: () => 5,
  }),
  lockoutWindowMinutes: option('Time within which they are counted.', whole(1, 1440), { default: () => 15 }),
  lockoutMinutes: option('How long somebody is locked out.', whole(1, 1440), { default: () => 15 }),
  ldapUrl: option('The directory: ldap://HOST or ldaps://HOST, several with commas between, of which the first that answers is taken.', ldapUrls),
  ldapBindDn: option('Account in the directory as which novact asks it.', distinguishedName),
  ldapPassword: option('Password of that account.', z.string().min(1, 'a password is needed'), { secret: true }),
  ldapTls: choice('Is a connection by ldap:// secured (start), or left open (none)? ldaps:// is always secured.', ['start', 'none'], 'start'),
  ldapCa: option('File with the authority that signed the certificate of the directory. Unset: those of the system.', path),
  ldapAccess: choice(
    'What novact may change in the directory: users, projects and roles (full), of users only novact\'s attributes (modify), or nothing (read).',
    ['full', 'modify', 'read'], 'full',
  ),
  ldapUserBase: option('Where people are in the directory.', distinguishedName, { default: () => 'ou=Users,dc=example,dc=com' }),
  ldapUserDepth: choice('Are people right below that (one), or at any depth (sub)?', ['one', 'sub'], 'sub'),
  ldapUserFilter: option('Which of them are users.', ldapFilter, { default: () => '(objectClass=novaUser)' }),
  ldapUserId: option('Attribute with the id of a user, which never changes and is never given to another.', ldapAttribute, { default: () => 'uid' }),
  ldapUserName: option('Attribute with the name of a user.', ldapAttribute, { default: () => 'cn' }),
  ldapUserAdmin: option('Attribute that is TRUE for admins of the cloud.', ldapAttribute, { default: () => 'isNovaAdmin' }),
  ldapGroupBase: option('Where projects and roles are in the directory.', distinguishedName, { default: () => 'ou=Groups,dc=example,dc=com' }),
  ldapProjectDepth: choice('Are projects right below that (one), or at any depth (sub)?', ['one', 'sub'], 'sub'),
  ldapProjectFilter: option('Which groups are projects. Each needs a manager, too.', ldapFilter, { default: () => '(objectClass=groupOfNames)' }),
  ldapProjectId: option('Attribute with the id of a project, twelve digits. One without it has an id that follows from its name.', ldapAttribute, {
    default: () => 'novactProjectId',
  }),
  ldapProjectName: option('Attribute with the name of a project.', ldapAttribute, { default: () => 'cn' }),
  ldapProjectManager: option('Attribute with the entry of the manager of a project.', ldapAttribute, { default: () => 'owner' }),
  ldapMember: option('Attribute with the entries of the members of projects and roles.', ldapAttribute, { default: () => 'member' }),
  ldapProjectRoles: choice(
    'Roles in a project: of groups below it (groups), or whatever roles its members have (global).', ['groups', 'global'], 'groups',
  ),
  ldapCloudadmins: option('Group of the role cloudadmin. Unset: cn=cloudadmins where projects are.', distinguishedName),
  ldapItsec: option('Group of the role itsec. Unset: cn=itsec where projects are.', distinguishedName),
  ldapSysadmins: option('Group of the role sysadmin. Unset: cn=sysadmins where projects are.', distinguishedName),
  ldapNetadmins: option('Group of the role netadmin. Unset: cn=netadmins where projects are.', distinguishedName),
  ldapDevelopers: option('Group of the role developer. Unset: cn=developers where projects are.', distinguishedName),
  ldapCacheSeconds: option('How old an answer of the directory may be: what is taken from somebody there counts here at the latest then.', whole(0, 3600), {
    default: () => 15,
  }),
  ldapTimeoutSeconds: option('Longest wait for the directory. What it does not answer in time is refused.', whole(1, 60), { default: () => 5 }),
  ldapConnections: option('Connections that each process keeps to the directory.', whole(1, 64), { default: () => 4 }),
  volumeDriver: option(
    'How volumes are kept and served (docs/reference/drivers.md): local, iscsi, lio, nbd, aoe or fake. Unset: local, with the hypervisor sim fake.',
    z.enum(['local', 'iscsi', 'lio', 'nbd', 'aoe', 'fake']),
  ),
  volumeFolder: option('Folder of volumes and snapshots. Unset: volumes in the state folder.', path),
  volumeAllocation: choice('Room of a volume: taken when it is made (thick), or as a guest writes (thin).', ['thick', 'thin'], 'thick'),
  volumeStore: choice('Where volumes are kept: files of a folder (file), or logical volumes of a volume group (lvm).', ['file', 'lvm'], 'file'),
  volumeGroup: option('LVM\'s volume group for volumes, which must exist.', name, { default: () => 'novact' }),
  volumeShelf: option('For aoe: the number of this host on its link, which no other has. Unset: the last two numbers of its address.', whole(0, 65_534)),
  volumeReservedGiB: option('Room of the volumes\' store kept back from them.', whole(0, 1_048_576), { default: () => 2 }),
  volumesPerProjectMax: option('Volumes that a project may have at once.', whole(0, 1_000_000), { default: () => 20 }),
  gigabytesPerProjectMax: option('Gibibytes that the volumes of a project may have together.', whole(0, 1_000_000_000), { default: () => 1_000 }),
  snapshotsPerProjectMax: option('Snapshots that a project may have at once.', whole(0, 1_000_000), { default: () => 100 }),
  instancesPerProjectMax: option('Instances that a project may have at once.', whole(1, 1_000_000), { default: () => 20 }),
  coresPerProjectMax: option('Cores that the instances of a project may have together.', whole(1, 1_000_000_000), { default: () => 1_000 }),
  memoryMiBPerProjectMax: option('Mebibytes of memory that they may have together.', whole(1, 2_000_000_000), { default: () => 4_194_304 }),
  securityGroupsPerProjectMax: option('Security groups that a project may have, the default ones among them.', whole(1, 1_000_000), { default: () => 500 }),
  rulesPerSecurityGroupMax: option('Rules that a security group may have in each direction.', whole(1, 1_000), { default: () => 100 }),
  keyPairsPerProjectMax: option('Key pairs that a project may have.', whole(0, 1_000_000), { default: () => 5_000 }),
  imagesPerProjectMax: option('Images that a project may have.', whole(0, 1_000_000), { default: () => 50_000 }),
  bucketsPerProjectMax: option('Buckets that a project may have.', whole(0, 1_000_000), { default: () => 1_000 }),
  bytesPerProjectMax: option('Bytes that the buckets of a project may hold: objects, versions and parts of uploads. As it is: no limit.',
    whole(0, Number.MAX_SAFE_INTEGER), { default: () => Number.MAX_SAFE_INTEGER }),
  addressesPerProjectMax: option('Floating addresses that a project may have at once.', whole(0, 1_000_000), { default: () => 10 }),
  vpcsPerProjectMax: option('VPCs that a project may have, the default one among them, and internet gateways.', whole(1, 10_000), { default: () => 5 }),
  subnetsPerVpcMax: option(
    'Subnets that a VPC may have. Each is plumbed on every host that has an instance of its VPC.', whole(1, 1_000), { default: () => 20 },
  ),
  coresRatio: option('Guest cores offered for each core of the host.', z.coerce.number().min(0.1).max(64), { default: () => 8 }),
  memoryReservedMiB: option('Memory of the host kept back from guests.', whole(0, 1_048_576), { default: () => 1024 }),
  diskReservedGiB: option('Disk of the state folder kept back from guests.', whole(0, 1_048_576), { default: () => 2 }),
  imageCacheGiB: option('Size that the image cache may grow to before unused images are dropped.', whole(1, 1_048_576), { default: () => 20 }),
  imageSizeGiBMax: option('Largest virtual size of an image.', whole(1, 65_536), { default: () => 64 }),
  tinyImage: option('Folder of the ready-made image.', path, { default: (around) => join(around.installation, 'build/tiny') }),
  auditDays: option('Days after which a record of the audit log is removed.', whole(1, 36_500), { default: () => 90 }),
  auditRowsMax: option('Records that the audit log keeps of changes of the cloud\'s resources, the newest.', whole(1_000, 1_000_000_000), {
    default: () => 1_000_000,
  }),
  auditObjectRowsMax: option(
    'Records that it keeps of changes of objects, and of refusals of strangers. 0: these are not recorded.', whole(0, 1_000_000_000),
    { default: () => 1_000_000 },
  ),
  logLevel: choice('Least level that is logged.', ['trace', 'debug', 'info', 'warn', 'error', 'silent'], 'info'),
  redisUrl: option(
    'Mailboxes across hosts. Unset: within this process. redis://, rediss:// (TLS), or redis+sentinel://HOST:PORT,HOST:PORT/NAME.', redisUrl, { secret: true },
  ),
  redisCa: option('File with the authority that signed the certificate of Redis. Unset: those of the system.', path),
  address: option('Address of this host for the other hosts: image transfers and migrations. Unset: it is alone.', address),
  ec2Url: option('EC2 as clients reach it, behind a balancer for instance. Unset: from bind and port.', httpUrl),
  s3Url: option('S3 as clients and compute hosts reach it. Unset: from bind and port.', httpUrl),
  flatInterface: option('Interface by which the guests\' bridges of all hosts are joined. Unset: guests of this host only.', interfaceName),
  serviceDownSeconds: option('Silence after which a host counts as down.', whole(2, 3600), { default: () => 60 }),
  migrationUri: option(
    'Hypervisor of this host as those of other hosts connect to it to move a running guest here; {address} and {host} stand for this host\'s.',
    libvirtUri, { default: () => 'qemu+tls://{address}/system' },
  ),
  transferPort: option('Port of this host\'s address from which other hosts fetch the disks of instances that move to them.', port, { default: () => 8787 }),
  instancesShared: choice('Are the instances\' disks on a folder that all hosts share (yes, no)?', ['yes', 'no'], 'no'),
  simHosts: option('How many hosts the hypervisor sim pretends to be.', whole(1, 20_000), { default: () => 1 }),
} as const;

export type OptionName = keyof typeof options;

export const optionNames = Object.keys(options) as readonly OptionName[];

export const optionOf = (optionName: OptionName): Option => options[optionName] as Option;

const snake = (text: string): string =>
  text.replace(/([MGT])iB/g, (_, unit: string) => `${unit.toUpperCase()}ib`).replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase();

/** `apiPort` → `api_port`, as in novact.toml. */
export const fileKey = (optionName: OptionName): string => snake(optionName);
/** `apiPort` → `NOVACT_API_PORT`. */
export const environmentKey = (optionName: OptionName): string => `NOVACT_${fileKey(optionName).toUpperCase()}`;
/** `apiPort` → `--api-port`. */
export const flagName = (optionName: OptionName): string => `--${fileKey(optionName).replaceAll('_', '-')}`;

/** The machine this process runs on. */
export function surroundings(role?: RoleName): Surroundings {
  const short = hostname().split('.')[0]?.replaceAll(/[^A-Za-z0-9._-]/g, '-') ?? '';
  return {
    isRoot: process.getuid?.() === 0,
    home: homedir(),
    hostname: /^[A-Za-z0-9]/.test(short) ? short.slice(0, 63) : 'localhost',
    installation: fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, ''),
    role,
  };
}
