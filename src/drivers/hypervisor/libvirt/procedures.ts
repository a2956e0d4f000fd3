// The procedures of libvirt's remote protocol that novact uses: numbers, arguments and answers. The numbers are a stable part of
// libvirt's wire protocol; nothing here knows about sockets.
import { XdrReader, XdrWriter, type DomainHandle } from './xdr.ts';

export interface Procedure<Answer> {
  readonly name: string;
  readonly number: number;
  /** `qemu`: of libvirt's second program, which only its QEMU driver speaks. */
  readonly program: 'remote' | 'qemu';
  readonly body: Buffer;
  readonly read: (reader: XdrReader) => Answer;
}

/** virDomainState. */
export const domainStates = { none: 0, running: 1, blocked: 2, paused: 3, shutdown: 4, shutoff: 5, crashed: 6, suspended: 7 } as const;

/** virErrorNumber, where a code decides something. */
export const libvirtCodes = {
  internalError: 1, noSupport: 3, noDomain: 42, operationInvalid: 55, noSecret: 66, configUnsupported: 67, operationTimeout: 68, argumentUnsupported: 74,
  noMetadata: 80, operationUnsupported: 84, resourceBusy: 87, accessDenied: 88, deviceMissing: 99,
} as const;

/** Events that are asked for, and the message each one arrives in. */
export const eventKinds = {
  lifecycle: { id: 0, message: 318 },
  reboot: { id: 1, message: 319 },
  deviceRemoved: { id: 15, message: 333 },
  deviceRemovalFailed: { id: 22, message: 367 },
} as const;

/** virDomainEventType: what happened to a domain. */
export const lifecycleChanges = { undefined: 1, started: 2, stopped: 5 } as const;

export const openConsoleNumber = 201;
export const authNone = 0;

/** VIR_DOMAIN_START_AUTODESTROY: the domain ends with the connection that created it. */
export const autoDestroy = 2;

/** VIR_DOMAIN_SHUTDOWN_* and VIR_DOMAIN_REBOOT_*: how a guest is asked. A container's first program gets TERM and HUP. */
export const askBy = { anyWay: 0, signal: 8 } as const;

const nothing = (): undefined => undefined;
const text = (reader: XdrReader): string => reader.text();
const domain = (reader: XdrReader): DomainHandle => reader.domain();
const empty = Buffer.alloc(0);

function procedure<Answer>(name: string, number: number, body: XdrWriter | undefined, read: (reader: XdrReader) => Answer): Procedure<Answer> {
  return { name, number, program: 'remote', body: body?.bytes() ?? empty, read };
}

const withDomain = (handle: DomainHandle): XdrWriter => new XdrWriter().domain(handle);

export const authList = () => procedure('list the ways to authenticate', 66, undefined, (reader) => reader.list((item) => item.uint()));
export const connectOpen = (uri: string) => procedure('open', 1, new XdrWriter().optionalText(uri).uint(0), nothing);
export const connectClose = () => procedure('close', 2, undefined, nothing);

/** The processor's model comes first: 32 characters, a word each; then the memory in KiB. */
export const nodeInfo = () =>
  procedure('read the node', 6, undefined, (reader) => {
    reader.fixed(32 * 4);
    const memoryKiB = Number(reader.ulong());
    return { cores: reader.int(), memoryKiB };
  });

export const registerEvent = (id: number) =>
  procedure('register for events', 316, new XdrWriter().uint(id).uint(0), (reader) => reader.int());

export const listAll = () =>
  procedure('list domains', 273, new XdrWriter().uint(1).uint(0), (reader) => reader.list((item) => item.domain()));

export const lookupByName = (name: string) => procedure('look up', 23, new XdrWriter().text(name), domain);
export const defineXml = (xml: string) => procedure('define', 11, new XdrWriter().text(xml), domain);
export const createXml = (xml: string, flags: number) => procedure('create', 10, new XdrWriter().text(xml).uint(flags), domain);
export const create = (handle: DomainHandle) => procedure('start', 9, withDomain(handle), nothing);
export const destroy = (handle: DomainHandle) => procedure('destroy', 12, withDomain(handle), nothing);
export const resume = (handle: DomainHandle) => procedure('resume', 28, withDomain(handle), nothing);
export const shutdown = (handle: DomainHandle, flags: number) => procedure('shut down', 258, withDomain(handle).uint(flags), nothing);
export const reboot = (handle: DomainHandle, flags: number) => procedure('reboot', 27, withDomain(handle).uint(flags), nothing);
export const reset = (handle: DomainHandle) => procedure('reset', 245, withDomain(handle).uint(0), nothing);
export const undefine = (handle: DomainHandle, flags: number) => procedure('undefine', 231, withDomain(handle).uint(flags), nothing);

export const getMemory = (handle: DomainHandle) =>
  procedure('read the memory', 16, withDomain(handle), (reader) => {
    reader.uint();
    return { maxKiB: Number(reader.ulong()) };
  });

/** Of no interest in itself: it waits until nothing else is done to the domain. */
export const getMemoryStats = (handle: DomainHandle) => procedure('read the use of memory', 159, withDomain(handle).uint(1).uint(0), nothing);

export const getState = (handle: DomainHandle) =>
  procedure('read the state', 212, withDomain(handle).uint(0), (reader) => ({ state: reader.int(), reason: reader.int() }));

/** The metadata element of that namespace, as XML. */
export const getMetadata = (handle: DomainHandle, namespace: string) =>
  procedure('read the metadata', 265, withDomain(handle).uint(2).optionalText(namespace).uint(0), text);

/** Fit for another host: without what only this one knows (aliases, terminals, labels). */
export const getMigratableXml = (handle: DomainHandle) => procedure('read the definition', 14, withDomain(handle).uint(8), text);

/** VIR_DOMAIN_XML_*. */
export const xmlFlags = { none: 0, inactive: 2 } as const;

export const getXml = (handle: DomainHandle, flags: number) => procedure('read the definition', 14, withDomain(handle).uint(flags), text);

/** VIR_DOMAIN_AFFECT_*. */
export const affects = { running: 1, definition: 2 } as const;

export const attachDevice = (handle: DomainHandle, xml: string, flags: number) => procedure('attach', 160, withDomain(handle).text(xml).uint(flags), nothing);
/** From a running guest: it is only asked. */
export const detachDevice = (handle: DomainHandle, xml: string, flags: number) => procedure('detach', 161, withDomain(handle).text(xml).uint(flags), nothing);

/** The size is in bytes (VIR_DOMAIN_BLOCK_RESIZE_BYTES). */
export const blockResize = (handle: DomainHandle, target: string, bytes: number) =>
  procedure('resize', 251, withDomain(handle).text(target).ulong(BigInt(bytes)).uint(1), nothing);

export interface SecretHandle {
  readonly uuid: Buffer;
  readonly usageType: number;
  readonly usage: string;
}

/** VIR_SECRET_USAGE_TYPE_ISCSI. */
const iscsiUsage = 3;

const withSecret = ({ uuid, usageType, usage }: SecretHandle): XdrWriter => new XdrWriter().fixed(uuid).uint(usageType).text(usage);

/** One with that uuid is replaced. */
export const secretDefine = (xml: string) =>
  procedure('define a secret', 142, new XdrWriter().text(xml).uint(0), (reader): SecretHandle => ({
    uuid: Buffer.from(reader.fixed(16)), usageType: reader.int(), usage: reader.text(),
  }));
export const secretSet = (secret: SecretHandle, value: string) => procedure('set a secret', 144, withSecret(secret).text(value).uint(0), nothing);
export const secretUndefine = (uuid: string, usage: string) =>
  procedure('undefine a secret', 146, withSecret({ uuid: Buffer.from(uuid.replaceAll('-', ''), 'hex'), usageType: iscsiUsage, usage }), nothing);

/** QEMU's own monitor: the answer is its JSON, an error included. */
export const monitorCommand = (handle: DomainHandle, command: string): Procedure<string> =>
  ({ ...procedure('tell QEMU', 1, withDomain(handle).text(command).uint(0), text), program: 'qemu' });

/** VIR_DOMAIN_JOB_*: what is done to a domain for a longer time. */
export const jobTypes = { none: 0, bounded: 1, unbounded: 2 } as const;

/** Times first; then the amounts of all that is moved, in bytes. */
export const getJobInfo = (handle: DomainHandle) =>
  procedure('read the job', 163, withDomain(handle), (reader) => {
    const type = reader.int();
    reader.ulong();
    reader.ulong();
    const bytesTotal = Number(reader.ulong());
    reader.ulong();
    return { type, bytesTotal, bytesLeft: Number(reader.ulong()) };
  });

/** VIR_DOMAIN_JOB_STATS_*: of the last one that ended, which stays to be asked for. */
const ofEndedJob = 1 | 2;

/** How the last job ended; `success` is undefined when nothing is known of one. */
export const getEndedJob = (handle: DomainHandle) =>
  procedure('read the end of the job', 298, withDomain(handle).uint(ofEndedJob), (reader) => {
    reader.int();
    const parameters = reader.parameters();
    return { success: parameters.get('success') as boolean | undefined, error: parameters.get('errmsg') as string | undefined };
  });

/** Answers when it has begun; what then is under way is a job. No checkpoint. */
export const backupBegin = (handle: DomainHandle, xml: string) =>
  procedure('begin a copy', 421, withDomain(handle).text(xml).optionalText(undefined).uint(0), nothing);

export const abortJob = (handle: DomainHandle) => procedure('abort the job', 164, withDomain(handle), nothing);

/** VIR_MIGRATE_*. */
export const migrateFlags = {
  live: 1, peerToPeer: 2, tunnelled: 4, persistThere: 8, undefineHere: 16, copyOverlays: 128, unsafe: 512, abortOnError: 4096, autoConverge: 8192, tls: 1 << 16,
} as const;

/** The daemon connects to the other one itself, and answers when the guest has gone over. */
export const migratePeerToPeer = (handle: DomainHandle, move: { uri: string; parameters: readonly (readonly [string, string])[]; flags: number }) =>
  procedure('migrate', 305, withDomain(handle).optionalText(move.uri).textParameters(move.parameters).uint(0).uint(move.flags), nothing);

/** Both directions then flow as stream packets under the call's serial number. */
export const openConsole = (handle: DomainHandle) =>
  procedure('open the console', openConsoleNumber, withDomain(handle).optionalText(undefined).uint(0), nothing);
