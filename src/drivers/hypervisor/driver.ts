// What compute needs of a hypervisor. Every method ensures a state, so that repeating it is safe; a driver knows nothing
// of users, images or the database. Guests outlive novact: a domain is persistent and is found again by `list`.
import type { Secret } from '../../lib/secret.ts';

export interface HypervisorInfo {
  /** The driver's name in the registry: `libvirt`, `sim`. */
  readonly name: string;
  /** What runs the guests: shown as `hypervisor` to operators and clients. */
  readonly kind: 'kvm' | 'qemu' | 'lxc' | 'xen' | 'sim';
  /** False: guests are file system trees (`rootDirectory`), not disks with a kernel. */
  readonly bootsKernels: boolean;
  /** What was chosen and why, for the start-up banner: `TCG: a probe guest did not boot under /dev/kvm within 10 s`. */
  readonly notice: string | undefined;
  /** Can running guests be moved to another host? Then the driver has a `migrator`. */
  readonly liveMigration: boolean;
  /** Why not, in words for an operator; undefined when they can. */
  readonly liveMigrationNotice: string | undefined;
}

export interface HostCapacity {
  readonly cores: number;
  readonly memoryMiB: number;
}

/** Where the bytes of a disk are. The hypervisor itself speaks iSCSI and NBD: nothing of such a disk shows on the host. */
export type DiskSource =
  | { readonly type: 'file'; readonly path: string; readonly format: 'raw' | 'qcow2' }
  /** A raw block device of the host. */
  | { readonly type: 'block'; readonly path: string }
  | {
      readonly type: 'iscsi'; readonly address: string; readonly port: number;
      /** The target's iSCSI name. */
      readonly target: string; readonly lun: number;
      /** This host's iSCSI name. */
      readonly initiator: string; readonly user: string; readonly secret: Secret;
    }
  | { readonly type: 'nbd'; readonly address: string; readonly port: number; readonly exportName: string };

export interface DomainDisk {
  readonly source: DiskSource;
  /** `vda`: unique in the domain, and a wish: a guest may name it otherwise. */
  readonly target: string;
  /** Unique in the domain; shown in the guest, at most 20 characters. */
  readonly serial: string;
  /** The guest cannot write to it, and a move does not copy it: it is made on either host. */
  readonly isReadOnly?: boolean;
}

/** A disk as the domain has it. */
export interface DiskStatus {
  readonly target: string;
  readonly serial: string;
  /** Does the running guest have it now? False for a domain that does not run. */
  readonly isPlugged: boolean;
  /** Will the domain have it at its next start? */
  readonly isDefined: boolean;
}

export interface DomainSpec {
  /** The domain's name. */
  readonly instanceId: string;
  /** Marks the domain as this cloud's: `list` shows no others. */
  readonly cloudId: string;
  /** Derived from the instance id, so that defining again replaces. */
  readonly uuid: string;
  readonly memoryMiB: number;
  readonly cores: number;
  /** Root disk first. Empty for a driver that boots no kernels. */
  readonly disks: readonly DomainDisk[];
  readonly kernelPath: string | undefined;
  readonly ramdiskPath: string | undefined;
  readonly kernelArguments: string | undefined;
  /** The tree of a container; undefined for drivers that boot kernels. */
  readonly rootDirectory: string | undefined;
  readonly nic: { readonly mac: string; readonly bridge: string; readonly tap: string };
  /** A folder of the instance's own, where the driver keeps its console log. */
  readonly directory: string;
}

export type DomainState = 'running' | 'paused' | 'shutoff' | 'crashed';

export interface DomainStatus {
  readonly instanceId: string;
  readonly state: DomainState;
  /** For `shutoff`: how it came to be. `guest`: powered off from inside; `destroyed`: by force; `failed`: the emulator died; `unknown`. */
  readonly reason: 'guest' | 'destroyed' | 'failed' | 'unknown';
}

export type HypervisorEvent =
  | { readonly type: 'domain'; readonly instanceId: string }
  /** The guest restarted, asked or by itself. */
  | { readonly type: 'rebooted'; readonly instanceId: string }
  /** The connection is (again) there: everything may have changed. */
  | { readonly type: 'connected' }
  | { readonly type: 'disconnected'; readonly error: string };

/** How a running guest is moved. */
export interface LiveMove {
  readonly instanceId: string;
  /** The hypervisor of the destination, as this one connects to it: `qemu+tls://10.0.0.2/system`. */
  readonly uri: string;
  /** Where the guest's memory and disks are sent; undefined: the hypervisors agree on it. */
  readonly address: string | undefined;
  /** Paths and iSCSI names here and what they are there: folders, files and the initiator that the domain names. */
  readonly paths: readonly (readonly [from: string, to: string])[];
  /** True: both hosts see the same files. False: they are copied into those that were made ready there. Disks of a network are never copied. */
  readonly disksShared: boolean;
  readonly timeoutMs: number;
  readonly onProgress: (progress: { readonly bytesTotal: number; readonly bytesLeft: number }) => void;
}

/** A rare ability: guests that go on running while they change their host. */
export interface LiveMigrator {
  /** After: the hypervisor of this host can open these disks, of a guest that is about to come. */
  prepareIncoming(disks: readonly DomainDisk[]): Promise<void>;
  /**
   * After: the guest runs there, and here there is no such domain. Joins a move that is under way. When it throws, the guest runs where it ran,
   * or, if the connection broke at the last moment, there: look at both. An aborted signal cancels the move and throws.
   * Errors: `notFound` (no such domain: it may have gone over), `busy` (it is not running), `unsupported`, `timeout`, `failed`.
   */
  migrate(move: LiveMove, signal: AbortSignal): Promise<void>;
  /** After: no move of it is under way. No error if none was, or if there is no such domain. */
  cancel(instanceId: string): Promise<void>;
}

/** A rare ability: what a disk of a running guest holds at one moment, while the guest goes on. */
export interface DiskCopier {
  /**
   * After: `path` has what that disk held at one moment; a qcow2 may stand on what the disk stands on. What was there is replaced. Copies of one
   * guest's disks wait for one another; one that another process began is ended first. An aborted signal ends it and throws. Errors: `notFound`,
   * `busy` (not running), `unsupported`, `timeout`, `failed`.
   */
  copyDisk(copy: DiskCopy, signal: AbortSignal): Promise<void>;
}

export interface DiskCopy {
  readonly instanceId: string;
  readonly target: string;
  readonly path: string;
  /** Default qcow2. */
  readonly format?: 'qcow2' | 'raw';
}

/** Errors: DriverError `notFound` (no such domain), `busy`, `unsupported`, `timeout`, `failed`. Every method has a deadline of its own. */
export interface HypervisorDriver {
  readonly info: HypervisorInfo;
  /** Undefined when `info.liveMigration` is false. */
  readonly migrator: LiveMigrator | undefined;
  /** Undefined: disks are copied only while nobody writes to them. */
  readonly copier: DiskCopier | undefined;
  capacity(): Promise<HostCapacity>;
  /** All domains of this cloud, running or not. */
  list(cloudId: string): Promise<readonly DomainStatus[]>;
  /** Throws `notFound`. */
  status(instanceId: string): Promise<DomainStatus>;
  /** After: the domain is defined as the spec says (a running one keeps running; the definition holds from its next start). */
  ensureDefined(spec: DomainSpec): Promise<void>;
  /** After: running. A running domain stays as it is. Throws `notFound` if it is not defined. */
  ensureRunning(instanceId: string): Promise<void>;
  /** Asks the guest to power off (ACPI, or its init). Returns at once; the end shows as an event. No error if it is not running. */
  requestShutdown(instanceId: string): Promise<void>;
  /** After: not running, by force. Not an error if it is not running or does not exist. */
  ensureStopped(instanceId: string): Promise<void>;
  /**
   * Asks for a reboot; by force where the guest cannot be asked. Its end shows as `rebooted`. Definition, disks and network stay.
   * Throws `busy` if it is not running.
   */
  reboot(instanceId: string, options: { force: boolean }): Promise<void>;
  /** After: no such domain, running or defined; its console files are left to the caller's folder removal. Not an error if it does not exist. */
  ensureAbsent(instanceId: string): Promise<void>;
  /** The domain's disks, by target. Throws `notFound`. */
  disks(instanceId: string): Promise<readonly DiskStatus[]>;
  /**
   * After: the disk is in the definition, and the guest has it if it runs. One with that serial stays as it is. Throws `notFound`, `busy` (another disk has
   * that target, or it is being taken off), `unsupported` (a driver that boots no kernels), `failed` (the source cannot be opened: then it is in neither).
   */
  attachDisk(instanceId: string, disk: DomainDisk): Promise<void>;
  /**
   * After: the disk is in neither, the host has let go of its source and forgotten its secret. A guest is asked to release it; `busy`, with the disk as it was
   * in the definition, when it does not within the driver's deadline: it may yet, and then an event tells. `force`: the definition is changed all the same,
   * and a guest that keeps it gets errors from it, and has it no more after its next start. No error if there is no such disk or domain.
   */
  detachDisk(instanceId: string, serial: string, options: { force: boolean }): Promise<void>;
  /** After: the guest, if it runs, sees that size, to which its source has grown. Throws `notFound` (domain or disk). */
  resizeDisk(instanceId: string, serial: string, sizeBytes: number): Promise<void>;
  /** The last 64 KiB of the serial console, also after the domain stopped; empty when nothing was written. */
  console(spec: { instanceId: string; directory: string }): Promise<Buffer>;
  /** Bounds the console's file on disk; called now and then. */
  trimConsole(spec: { instanceId: string; directory: string }): Promise<void>;
  /** Calls back for every event from now on. After each (re)connect there is a `connected`. */
  subscribe(listener: (event: HypervisorEvent) => void): () => void;
  close(): Promise<void>;
}

export const consoleBytesMax = 64 * 1024;
