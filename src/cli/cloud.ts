// The contract between the command line and the composition root (src/roles/all.ts): `up` and the role launchers take the lock, open the
// database and hand over; the root starts every role, or the one asked for, in this process and says how to reach it.
import type { OpsSource } from '../api/ops/source.ts';
import type { RoleName } from '../config/options.ts';
import type { Settings } from '../config/settings.ts';
import type { Log } from '../lib/log.ts';

/** The first user's key, shown in novarc. */
export interface FounderKey {
  readonly userName: string;
  readonly projectName: string;
  readonly accessKeyId: string;
  readonly secretKey: string;
}

/** In PEM. */
export interface CloudCertificates {
  /** What bundles of images are encrypted to. */
  readonly bundling?: string;
  /** Of the authority that the endpoints are known by. */
  readonly authority?: string;
}

/** `databaseUrl` is always set: `up` has started the private database where none was named. */
export type CloudSettings = Settings & { readonly databaseUrl: string };

export interface StartOptions {
  readonly log: Log;
  /** The release that runs. */
  readonly version: string;
  /** The one role of this process; absent: all of them. */
  readonly role?: RoleName | undefined;
  /** One line of progress for people: `registering novact-tiny (24 MB)`. */
  readonly onProgress: (text: string) => void;
  /** The top of the actor tree gave up, or a server died: the process ends, the next start recovers. */
  readonly onFatal: (error: unknown) => void;
}

export interface RunningCloud extends OpsSource {
  readonly endpoints: { readonly ec2: string; readonly s3: string; readonly metadata: string };
  /** Known to the processes that show it to clients: `up` and the api. */
  readonly founder: FounderKey | undefined;
  /** Known where the founder is. */
  readonly certificates: CloudCertificates;
  /** What runs the guests, and what there is to say about it; of processes that run guests. */
  readonly hypervisor: { readonly kind: string; readonly notice: string | undefined } | undefined;
  /** Clean: nothing new is accepted, work in hand ends or is left to the next start, guests go on. */
  stop(): Promise<void>;
}

export type StartCloud = (settings: CloudSettings, options: StartOptions) => Promise<RunningCloud>;

/** For `novact redis-users`: after, the folder has `users.acl` and `<host>/novact-<role>.env`, with the passwords that were there before. */
export type WriteRedisUsers = (options: { readonly hosts: readonly HostRoles[]; readonly url: string; readonly folder: string }) => Promise<readonly string[]>;

export interface HostRoles {
  readonly host: string;
  readonly roles: readonly (RoleName | 'all')[];
}

/** For `down --purge`: guests, bridges, rules and images of this cloud are gone; the database is read, not removed. Repeatable. */
export type PurgeCloud = (settings: CloudSettings, options: Pick<StartOptions, 'log' | 'onProgress' | 'version'>) => Promise<void>;
