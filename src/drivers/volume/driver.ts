// What a volume host does: keeps block devices and their snapshots, and gives one to the host of an instance. Every method ensures a state, so
// that repeating it is safe. A driver is a store (where the bytes are) and an export protocol (how another host reaches them); it knows
// nothing of users or the database, and after the death of everything it is told again what to export.
import type { Secret } from '../../lib/secret.ts';
import type { DiskSource } from '../hypervisor/driver.ts';

export interface VolumeCapabilities {
  /** False: only guests of the volume's own host can have it. */
  readonly remote: boolean;
  /** Does a running guest that has it see it grow? False: detach it first. */
  readonly resizeOnline: boolean;
  readonly snapshots: boolean;
  /**
   * How a snapshot of an attached volume is one moment of it. `instant`: the store makes it in one step. `held`: the volume's reads and writes
   * stand still while it is copied. `detached`: it is refused (`busy`) while the volume is attached, unless its guest can copy it (CopyByGuest).
   */
  readonly attachedSnapshots: 'instant' | 'held' | 'detached';
  /** Can a guest that has it change its host while it runs? */
  readonly liveMigration: boolean;
  /** Does the volume host know who connects by more than an address? */
  readonly authenticates: boolean;
}

export interface VolumeInfo {
  /** The driver's name in the registry: `local`, `iscsi`. */
  readonly name: string;
  /** Known after `probe`, for some depend on the file system or the kernel. */
  readonly capabilities: VolumeCapabilities;
}

export interface VolumeCapacity {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

export interface StoredVolume {
  readonly id: string;
  readonly sizeBytes: number;
}

/** Who may connect: the compute host. */
export interface Initiator {
  /** An iSCSI name: `iqn.2011-02.org.novact:h1`. It is what whoever connects says of itself. */
  readonly name: string;
  /** From where it connects; undefined: from anywhere, and then the name counts. */
  readonly address: string | undefined;
}

export interface ExportSpec {
  readonly volumeId: string;
  /** A volume that is taken off and attached again has another one, and with it another name and another secret. */
  readonly attachmentId: string;
  /** Exactly these may connect; two while a guest changes its host. */
  readonly initiators: readonly Initiator[];
  /** Both sides derive it; it is never sent. */
  readonly secret: Secret;
}

/** How a volume is reached. Without secrets: it goes through messages and the database. */
export type Connection =
  | { readonly protocol: 'file'; readonly path: string }
  | { readonly protocol: 'block'; readonly path: string }
  | {
      readonly protocol: 'iscsi'; readonly address: string; readonly port: number;
      /** The target's iSCSI name. */
      readonly target: string; readonly lun: number; readonly user: string;
    }
  | { readonly protocol: 'nbd'; readonly address: string; readonly port: number; readonly exportName: string }
  | { readonly protocol: 'aoe'; readonly shelf: number; readonly slot: number };

export interface VolumeExport {
  readonly volumeId: string;
  readonly attachmentId: string;
  /** False: what serves it is dead, and `ensureExport` brings it back. */
  readonly isServed: boolean;
}

export type VolumeEvent = {
  /** What served it has died; guests wait for it to come back. */
  readonly type: 'exportDied';
  readonly volumeId: string;
  readonly attachmentId: string;
};

/** From what a new volume has its content. */
export type VolumeOrigin =
  | { readonly snapshotId: string }
  /** A raw image on this host. */
  | { readonly path: string };

/**
 * Has the guest that has a volume of this host in place write what it holds at one moment to that new file, raw. False: no guest runs that has it. Throws
 * `busy` when that is not known, `unsupported` where its hypervisor cannot.
 */
export type CopyByGuest = (path: string) => Promise<boolean>;

/**
 * Errors: DriverError `notFound` (no such volume or snapshot), `busy` (it is exported), `unsupported` (see the capabilities; the message names what
 * the host lacks), `failed` (a full disk says `no room`), `timeout`. What fails leaves nothing behind.
 */
export interface VolumeDriver {
  readonly info: VolumeInfo;
  /** After: the host can do the work. Throws `unsupported` with what is missing and the command that mends it. Called once, before all else. */
  probe(): Promise<void>;
  capacity(): Promise<VolumeCapacity>;
  /** Everything the store has, in no order: for finding what nobody owns. */
  listVolumes(): Promise<readonly StoredVolume[]>;
  listSnapshots(): Promise<readonly StoredVolume[]>;
  /**
   * After: the volume is there with that size, durably: zeros, or the origin's content and then zeros. One that is there already stays as it
   * is, content included. Throws `failed` when it has another size, or when the origin is larger; `notFound` without the snapshot.
   */
  ensureVolume(volume: { id: string; sizeBytes: number; from?: VolumeOrigin }): Promise<void>;
  /** After: no such volume, and its bytes can be read by nobody. No error if it was not there. Throws `busy` while it is exported. */
  ensureVolumeAbsent(id: string): Promise<void>;
  /**
   * After: the volume has that size; the new part is zeros. What is exported is served with the new size after the next `ensureExport`, and seen by a guest
   * after `HypervisorDriver.resizeDisk`. Throws `notFound`, `failed` for a smaller size, `busy` while it is exported by a driver without `resizeOnline`.
   */
  resize(id: string, sizeBytes: number): Promise<void>;
  /**
   * After: the snapshot is there, durably, with what the volume held at one moment of this call (as after a power cut: what a guest had not
   * flushed is not in it). One that is there already stays as it is. Later writes to the volume do not change it. Throws `notFound`, `unsupported`, `busy`.
   */
  ensureSnapshot(snapshot: { id: string; volumeId: string }, byGuest?: CopyByGuest): Promise<void>;
  /** After: no such snapshot. Volumes made from it stay. No error if it was not there. */
  ensureSnapshotAbsent(id: string): Promise<void>;
  /** The content of a snapshot as a raw file or device of this host, for tools that need one. Never write to it. Throws `notFound`. */
  snapshotPath(id: string): Promise<string>;
  /**
   * After: the volume is served to exactly these initiators with this secret, alone under this attachment. Repeated, it gives the same connection, and
   * sessions go on; after a crash it starts what is missing, at the address it had; after `resize` a session is interrupted for about a second.
   * Throws `notFound`, `busy` (another attachment has it).
   */
  ensureExport(spec: ExportSpec): Promise<Connection>;
  /** After: nobody can connect by this attachment, and nobody is connected. No error if it was not exported. */
  ensureUnexported(attachmentId: string): Promise<void>;
  listExports(): Promise<readonly VolumeExport[]>;
  /** Calls back from now on when a server of an export dies. */
  subscribe(listener: (event: VolumeEvent) => void): () => void;
  /** For `down --purge`: after it nothing is exported, and no volume and no snapshot is left. */
  removeAll(): Promise<void>;
  /** Stops watching. Exports stay: guests go on. */
  close(): Promise<void>;
}

/** What a compute host does to reach a volume. Errors: DriverError `unsupported` (this host lacks what the protocol needs), `notFound`, `timeout`, `failed`. */
export interface VolumeConnector {
  /** After: this host can give the volume to a guest as that disk. */
  ensureConnected(connection: Connection, access: VolumeAccess): Promise<DiskSource>;
  /** After: nothing of it is left on this host. Call it when no guest has the disk. No error if nothing was. */
  ensureDisconnected(connection: Connection): Promise<void>;
}

export interface VolumeAccess {
  /** The iSCSI name of this host. */
  readonly initiatorName: string;
  readonly secret: Secret;
}
