// The resolved settings that every role is started with, and the places in the state folder that follow from them.
import { join } from 'node:path';
import type { Option, options, RoleName } from './options.ts';

/** One value for each line of the options table, checked and with defaults filled in. */
export type Settings = {
  readonly [Name in keyof typeof options]: (typeof options)[Name] extends Option<infer T> ? T : never;
};

/** Where things lie in the state folder. Nothing else names a file there. */
export interface StatePaths {
  readonly novarc: string;
  readonly s3cfg: string;
  /** The certificate that bundles of images are encrypted to. */
  readonly cloudCertificate: string;
  /** The certificate of the cloud's authority, by which clients know the endpoints when they speak TLS. */
  readonly authority: string;
  /** The lock of the one process that owns the state folder. */
  readonly lock: string;
  /** What `novact status` shows to the ops server: only the owner of the state folder can read it. */
  readonly opsToken: string;
  /** The key under which secrets in the database are sealed. */
  readonly masterKey: string;
  readonly postgres: string;
  readonly redis: string;
  readonly pglite: string;
  readonly objects: string;
  readonly images: string;
  readonly instances: string;
  /** Guests of the hypervisor sim. */
  readonly sim: string;
  readonly networks: string;
  /** Keys and sockets of VPN servers. */
  readonly vpn: string;
  /** Of the local volume driver, unless another folder is named. */
  readonly volumes: string;
  /** What is exported of them. */
  readonly volumeExports: string;
  /** Volumes of the fake driver. */
  readonly fakeVolumes: string;
  /** Whether a probe guest booted under KVM, so that it need not be tried at every start. */
  readonly kvmProbe: string;
  /** What the last `up` was started with: `down --purge` removes what that made, whatever its flags were. */
  readonly lastSettings: string;
  readonly log: string;
}

export function statePaths(settings: Pick<Settings, 'state'> & Partial<Pick<Settings, 'masterKey'>>): StatePaths {
  const at = (name: string) => join(settings.state, name);
  return {
    novarc: at('novarc'),
    s3cfg: at('s3cfg'),
    cloudCertificate: at('cloud-cert.pem'),
    authority: at('ca.pem'),
    lock: at('novact.lock'),
    opsToken: at('ops-token'),
    masterKey: settings.masterKey ?? at('master.key'),
    postgres: at('postgres'),
    redis: at('redis'),
    pglite: at('pglite'),
    objects: at('objects'),
    images: at('images'),
    instances: at('instances'),
    sim: at('sim'),
    networks: at('networks'),
    vpn: at('vpn'),
    volumes: at('volumes'),
    volumeExports: at('volume-exports'),
    fakeVolumes: at('fake-volumes.json'),
    kvmProbe: at('kvm-probe.json'),
    lastSettings: at('settings.json'),
    log: at('novact.log'),
  };
}

/** Roles of which a host can run several, told apart by their ops ports. */
const severalRoles: readonly RoleName[] = ['api', 'scheduler', 'objectstore'];

/** The lock of a role that runs as a process of its own on this state folder. */
export function roleLock(settings: Pick<Settings, 'state' | 'opsPort'>, role: RoleName): string {
  return join(settings.state, `novact-${role}${severalRoles.includes(role) ? `-${settings.opsPort}` : ''}.lock`);
}

export const roleLog = (settings: Pick<Settings, 'state'>, role: RoleName): string => join(settings.state, `novact-${role}.log`);

/** The address at which this host reaches a server that listens on `bind`; with a name for other hosts, that. */
function reachable({ bind, address }: Pick<Settings, 'bind' | 'address'>): string {
  return bind === '0.0.0.0' || bind === '::' ? (address ?? '127.0.0.1') : bind;
}

const urlTo = (scheme: string, host: string, port: number): string => `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;

/** Where clients reach the EC2 API and S3, without a slash at the end. */
export function endpointsOf(settings: Settings): { readonly ec2: string; readonly s3: string } {
  const host = reachable(settings);
  const scheme = settings.tls === 'no' ? 'http' : 'https';
  return {
    ec2: (settings.ec2Url ?? urlTo(scheme, host, settings.apiPort)).replace(/\/+$/, ''),
    s3: (settings.s3Url ?? urlTo(scheme, host, settings.s3Port)).replace(/\/+$/, ''),
  };
}

/** The driver that plumbs networks: sim guests have no interfaces, so they need no bridge. */
export const networkDriverOf = (settings: Pick<Settings, 'networkDriver' | 'hypervisor'>): 'linux' | 'fake' =>
  settings.networkDriver ?? (settings.hypervisor === 'sim' ? 'fake' : 'linux');

/** How projects get networks of their own; undefined: all projects share one. */
export function projectNetworksOf(settings: Settings) {
  const { networkManager: manager, projectRange: cidr, mtu } = settings;
  if (manager !== 'vlan' && manager !== 'vxlan') return undefined;
  const [min = 0, max = 0] = (manager === 'vlan' ? settings.vlanRange : settings.vxlanRange).split('-').map(Number);
  return { manager, cidr, segments: { min, max }, mtu: manager === 'vlan' ? mtu : mtu - vxlanOverhead } as const;
}

/** What a VXLAN adds to each packet on the network between the hosts. */
const vxlanOverhead = 50;

/** The driver that keeps volumes: sim guests read nothing of them. */
export const volumeDriverOf = (settings: Pick<Settings, 'volumeDriver' | 'hypervisor'>): NonNullable<Settings['volumeDriver']> =>
  settings.volumeDriver ?? (settings.hypervisor === 'sim' ? 'fake' : 'local');
