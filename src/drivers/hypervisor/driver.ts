// What compute needs of a hypervisor. Every method ensures a state, so that repeating it is safe; a driver knows nothing
// of users, images or the database. Guests outlive novact: a domain is persistent and is found again by `list`.

export interface HypervisorInfo {
  /** The driver's name in the registry: `libvirt`, `sim`. */
  readonly name: string;
  /** What runs the guests: shown as `hypervisor` to operators and clients. */
  readonly kind: 'kvm' | 'qemu' | 'lxc' | 'xen' | 'sim';
  /** False: guests are file system trees (`rootDirectory`), not disks with a kernel. */
  readonly bootsKernels: boolean;
  /** What was chosen and why, for the start-up banner: `TCG: a probe guest did not boot under /dev/kvm within 10 s`. */
  readonly notice: string | undefined;
}

export interface HostCapacity {
  readonly cores: number;
  readonly memoryMiB: number;
}

export interface DomainDisk {
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  /** `vda`: a wish, a guest may name it otherwise. */
  readonly target: string;
  /** Shown in the guest, at most 20 characters. */
  readonly serial: string;
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

/** Errors: DriverError `notFound` (no such domain), `busy`, `unsupported`, `timeout`, `failed`. Every method has a deadline of its own. */
export interface HypervisorDriver {
  readonly info: HypervisorInfo;
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
  /** The last 64 KiB of the serial console, also after the domain stopped; empty when nothing was written. */
  console(spec: { instanceId: string; directory: string }): Promise<Buffer>;
  /** Bounds the console's file on disk; called now and then. */
  trimConsole(spec: { instanceId: string; directory: string }): Promise<void>;
  /** Calls back for every event from now on. After each (re)connect there is a `connected`. */
  subscribe(listener: (event: HypervisorEvent) => void): () => void;
  close(): Promise<void>;
}

export const consoleBytesMax = 64 * 1024;
