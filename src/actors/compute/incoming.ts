// The target's side of a move: makes this host ready for an instance, takes its disk, and forgets it again. What arrives belongs to one
// move (its operation): a folder that an earlier one left is never taken for the disk of this one.
import { imagesOf, loadInstance, type Instance } from '../../db/instance-work.ts';
import type { DomainState } from '../../drivers/hypervisor/driver.ts';
import { DriverError, messageOf } from '../../lib/errors.ts';
import { newRequestId } from '../../lib/ids.ts';
import type { ActorDefinition, ReplyTo } from '../runtime/actor.ts';
import { ensureConfigDrive } from './config-drive.ts';
import { machineImage, overlayOf, prepareImages } from './flows/run-instance.ts';
import { cachedImage, instanceDirectory, rootDisk, type ComputeHost, type HostMoves } from './host.ts';
import { connectVolumes } from './volumes.ts';

export interface IncomingPlace {
  readonly address: string;
  readonly migrationUri: string;
  readonly directory: string;
  readonly images: string;
  readonly hypervisor: string;
  readonly bootsKernels: boolean;
  readonly liveMigrationNotice: string | null;
}

export type IncomingMessage =
  | { readonly type: 'prepare'; readonly operationId: string; readonly from: string | null; readonly live: boolean; readonly replyTo: ReplyTo<IncomingPlace> }
  | { readonly type: 'receive'; readonly operationId: string; readonly from: string; readonly replyTo: ReplyTo<Record<string, never>> }
  | { readonly type: 'forget'; readonly operationId: string; readonly replyTo: ReplyTo<Record<string, never>> };

export interface IncomingArgs {
  readonly host: ComputeHost;
  readonly instanceId: string;
  readonly fetchImage: (imageId: string) => Promise<string>;
}

const idleMs = 60_000;

/** One for each instance, so that what is asked of it is done one after another, however often it is asked. */
export const incomingActor: ActorDefinition<IncomingArgs, IncomingMessage, IncomingArgs> = {
  kind: 'incoming',
  idleMs,
  init: (_context, args) => args,
  async handle(state, message, context) {
    try {
      if (message.type === 'prepare') message.replyTo.answer(await prepare(state, message));
      else if (message.type === 'receive') message.replyTo.answer(await receive(state, message, context.signal));
      else message.replyTo.answer(await forget(state));
    } catch (error) {
      message.replyTo.fail(error);
    }
  },
  onError: () => 'resume',
};

async function prepare(
  { host, instanceId, fetchImage }: IncomingArgs, wish: { operationId: string; from: string | null; live: boolean },
): Promise<IncomingPlace> {
  const { instance, moves } = await expected(host, instanceId);
  const { info } = host.hypervisor;
  const { machine } = await prepareImages({ host, instance, fetchImage });
  const directory = instanceDirectory(host, instanceId);
  if (!moves.instancesShared) {
    await beginFolder(host, instanceId, wish.operationId);
    if (wish.live && info.bootsKernels && machine !== null) {
      await host.disk.ensureOverlay(overlayOf(host, instance, await machineImage(host, instance), machine));
    }
    if (wish.live) await ensureConfigDrive(host, instance);
    if (wish.from !== null) await fetchConsole(host, moves, { instanceId, operationId: wish.operationId, from: wish.from });
  }
  if (wish.live) await prepareVolumes(host, instance);
  return {
    address: moves.address, migrationUri: moves.migrationUri, directory, images: host.paths.images, hypervisor: info.kind, bootsKernels: info.bootsKernels,
    liveMigrationNotice: info.liveMigration ? null : (info.liveMigrationNotice ?? 'its hypervisor cannot'),
  };
}

/** Served to both hosts, as long as the instance is on its way. */
async function prepareVolumes(host: ComputeHost, instance: Instance): Promise<void> {
  const never = new AbortController().signal;
  const disks = await connectVolumes({ host, instance, requestId: newRequestId(), signal: never, hurry: never });
  if (disks.length > 0) await host.hypervisor.migrator?.prepareIncoming(disks);
}

/** Throws when the instance is not on its way to this host: a message may be late. */
async function expected(host: ComputeHost, instanceId: string): Promise<{ instance: Instance; moves: HostMoves }> {
  const instance = await loadInstance(host.db, instanceId);
  if (instance === undefined || instance.migratingTo !== host.name) throw new DriverError('notFound', `${instanceId} is not on its way to ${host.name}`);
  if (host.moves === undefined) throw new DriverError('unsupported', `${host.name} takes no instances of other hosts: set its address`);
  return { instance, moves: host.moves };
}

/** An empty folder with the mark of this move, unless it has that mark already. */
async function beginFolder(host: ComputeHost, instanceId: string, operationId: string): Promise<void> {
  const directory = instanceDirectory(host, instanceId);
  const mark = markOf(directory, operationId);
  if (await host.files.exists(mark)) return;
  await host.hypervisor.ensureAbsent(instanceId);
  await host.files.removeTree(directory);
  await host.files.ensureDirectory(directory);
  await host.files.ensureDirectory(mark);
}

const markOf = (directory: string, operationId: string): string => `${directory}/moved-by-${operationId}`;

/** What the guest wrote so far; a console is no reason not to move. */
async function fetchConsole(host: ComputeHost, moves: HostMoves, source: { instanceId: string; operationId: string; from: string }): Promise<void> {
  const { from, ...move } = source;
  const path = `${instanceDirectory(host, source.instanceId)}/console.log`;
  if (await host.files.exists(path)) return;
  try {
    await moves.transfer.fetch({ ...move, address: from, target: host.name, name: 'console.log' }, path, AbortSignal.timeout(consoleMs));
  } catch (error) {
    host.log.info({ instance: source.instanceId, error: messageOf(error) }, 'the console of an instance on its way here was not fetched');
  }
}

const consoleMs = 10_000;

async function receive(
  { host, instanceId }: IncomingArgs, wish: { operationId: string; from: string }, signal: AbortSignal,
): Promise<Record<string, never>> {
  const { instance, moves } = await expected(host, instanceId);
  const directory = instanceDirectory(host, instanceId);
  const path = rootDisk(directory);
  if (!(await host.files.exists(markOf(directory, wish.operationId)))) throw new DriverError('failed', `${instanceId}: no folder was made for this move`);
  if (instance.bootsFromVolume || (await host.files.exists(path))) return {};
  const [image] = await imagesOf(host.db, [instance.imageId]);
  if (image === undefined) throw new DriverError('notFound', `the image ${instance.imageId} does not exist any more`);
  const arriving = `${path}.arriving`;
  const { from: address, operationId } = wish;
  const startedAt = host.clock.now();
  await moves.transfer.fetch({ address, instanceId, operationId, target: host.name, name: 'root.qcow2' }, arriving, signal);
  await host.disk.ensureBase({ path: arriving, base: cachedImage(host, image.id), baseFormat: image.format ?? 'raw' });
  await host.files.rename(arriving, path);
  host.log.info({ instance: instanceId, from: address, ms: host.clock.now() - startedAt }, 'disk received');
  return {};
}

async function forget({ host, instanceId }: IncomingArgs): Promise<Record<string, never>> {
  const instance = await loadInstance(host.db, instanceId);
  if (instance?.host === host.name) return {};
  const state = await incomingState(host, instanceId);
  if (state === 'running') throw new DriverError('busy', `${instanceId} runs on ${host.name}: it is not forgotten there`);
  await host.hypervisor.ensureAbsent(instanceId);
  if (host.moves?.instancesShared !== true) await host.files.removeTree(instanceDirectory(host, instanceId));
  return {};
}

export async function incomingState(host: ComputeHost, instanceId: string): Promise<DomainState | 'absent'> {
  const domains = await host.hypervisor.list(host.cloudId);
  return domains.find((domain) => domain.instanceId === instanceId)?.state ?? 'absent';
}
