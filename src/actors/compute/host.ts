// What the compute role of one host works with: handed in whole, so that a simulated host is the same code.
import { join } from 'node:path';
import type { Db } from '../../db/db.ts';
import type { Overcommit } from '../../db/hosts.ts';
import type { DiskDriver, DiskTransfer } from '../../drivers/disk/driver.ts';
import type { FilesDriver } from '../../drivers/files/driver.ts';
import type { HypervisorDriver } from '../../drivers/hypervisor/driver.ts';
import type { ImageSource } from '../../drivers/image-source/driver.ts';
import type { VolumeConnector } from '../../drivers/volume/driver.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Secret } from '../../lib/secret.ts';
import type { Relay, Transport } from '../../transport/transport.ts';
import type { Owner } from '../operations/perform-operation.ts';
import type { ActorSystem } from '../runtime/actor.ts';

/** Whose operations are that a host writes for its instances because it found them otherwise than they should be. */
export const ownWish = 'novact';

export interface ComputeHost {
  readonly name: string;
  readonly cloudId: string;
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  readonly system: ActorSystem;
  readonly transport: Transport;
  /** Kicked after a commit that gave work to another. */
  readonly relay: Relay;
  readonly hypervisor: HypervisorDriver;
  readonly disk: DiskDriver;
  readonly files: FilesDriver;
  readonly imageSource: ImageSource;
  readonly volumes: HostVolumes;
  /** `compute@<name>` in its present start. */
  readonly owner: Owner;
  readonly paths: ComputePaths;
  readonly limits: ComputeLimits;
  /** How instances come and go between hosts; absent: this host is alone. */
  readonly moves?: HostMoves;
  /** Guests are told their addresses by a drive; absent: by DHCP. */
  readonly configDrive?: DriveSettings;
}

/** What the drive tells beside what the database has. */
export interface DriveSettings {
  readonly dnsDomain: string;
  readonly nameServers: readonly string[];
}

/** How this host reaches volumes. */
export interface HostVolumes {
  readonly connector: VolumeConnector;
  readonly access: AttachmentAccess;
}

/** What both sides of an attachment derive, so that it is never sent. */
export interface AttachmentAccess {
  /** By which a compute host connects: its iSCSI name. */
  readonly initiatorName: (host: string) => string;
  readonly secretOf: (attachmentId: string) => Secret;
}

export interface HostMoves {
  /** Where other hosts reach this one. */
  readonly address: string;
  /** This host's hypervisor, as those of other hosts connect to it. */
  readonly migrationUri: string;
  /** All hosts see the same folder of instances: disks stay where they are. */
  readonly instancesShared: boolean;
  readonly transfer: DiskTransfer;
  readonly overcommit: Overcommit;
  /** How long memory and disks of one guest may take. */
  readonly moveMs: number;
}

export interface ComputePaths {
  /** A folder per instance. */
  readonly instances: string;
  /** The image cache: a file per image. */
  readonly images: string;
}

export interface ComputeLimits {
  /** How long a guest may take to power off before it is stopped by force. */
  readonly shutdownMs: number;
  /** How long a guest may take to reboot when asked. */
  readonly rebootMs: number;
  readonly imageFetchMs: number;
  readonly imageCacheBytesMax: number;
  /** How long terminated instances stay visible. */
  readonly terminatedVisibleMs: number;
  readonly reconcileIntervalMs: number;
  readonly sweepIntervalMs: number;
}

export const instanceDirectory = (host: ComputeHost, instanceId: string): string => join(host.paths.instances, instanceId);
export const rootDisk = (directory: string): string => join(directory, 'root.qcow2');
export const rootTree = (directory: string): string => join(directory, 'root');
export const cachedImage = (host: ComputeHost, imageId: string): string => join(host.paths.images, imageId);
