// `novact manage image …`: images of all projects, and imports of disks: objects of any bucket, or files on the host of the objectstore.
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { checkDescription, checkName, emptyRow } from '../../api/ec2/image-request.ts';
import { progressOf } from '../../api/ec2/show-import.ts';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { selectProject } from '../../db/identity.ts';
import { loadImage } from '../../db/image-work.ts';
import { deregisterImage, launchPermissionsOf, registeredImages, type ImageRow } from '../../db/images.ts';
import { cancelImport, importsOf, insertImport, type ImportSource, type ImportTask } from '../../db/imports.ts';
import { importFormats, type ImportFormat } from '../../drivers/disk/driver.ts';
import { SetupError } from '../../lib/errors.ts';
import { newId, newRequestId } from '../../lib/ids.ts';
import type { ManageDeps } from './deps.ts';

type Deps = Pick<ManageDeps, 'db' | 'clock' | 'relay' | 'settings'>;

const command = manageCommand<Deps>();
const workMs = 6 * 60 * 60_000;
const userId = 'operator';
const lookUp = 'See: novact manage image list';

const id = z.string().regex(/^a[mkr]i-[0-9a-f]{8,17}$/, 'an image id such as ami-0123456789abcdef0 is needed').describe('The image.');
const project = z.string().min(1).describe('The project, by name or id.');
const location = z.string().min(3).max(1_300).describe('BUCKET/KEY or s3://BUCKET/KEY of any project, or an absolute path on the host of the objectstore.');
const name = z.string().optional().describe('Its name; by default the import\'s id.');
const architecture = z.enum(['i386', 'x86_64', 'arm64']).default('x86_64').describe('Its architecture.');
const isPublic = z.boolean().default(false).describe('All projects may launch it.');

async function projectId({ db }: Pick<Deps, 'db'>, wanted: string): Promise<string> {
  const found = await selectProject(db, wanted);
  if (found === undefined) throw new SetupError(`there is no project ${wanted}`, 'Name one by its name or its id.');
  return found.id;
}

async function imageOf({ db }: Pick<Deps, 'db'>, wanted: string): Promise<ImageRow> {
  const row = await loadImage(db, wanted);
  if (row === undefined || row.state === 'deregistered') throw new SetupError(`there is no image ${wanted}`, lookUp);
  return row;
}

function sourceOf(text: string): ImportSource {
  if (isAbsolute(text)) return { kind: 'file', path: text };
  const [, bucket = '', key = ''] = /^(?:s3:\/\/)?([a-z0-9][\w.-]{1,254})\/(.+)$/i.exec(text) ?? [];
  if (bucket !== '') return { kind: 'object', bucket, key };
  throw new SetupError(`${text} is no location`, 'Give BUCKET/KEY, s3://BUCKET/KEY, or the absolute path of a file on the host of the objectstore.');
}

const shownSource = (source: ImportSource): string => (source.kind === 'file' ? source.path : `${source.bucket}/${source.key}`);

interface Wish {
  readonly location: string;
  readonly project: string;
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly type: ImageRow['type'];
  readonly architecture: string;
  readonly format?: ImportFormat | undefined;
  readonly public: boolean;
  readonly kernel?: string | undefined;
  readonly ramdisk?: string | undefined;
}

async function companion(deps: Deps, wanted: string | undefined, type: 'kernel' | 'ramdisk'): Promise<string | null> {
  if (wanted === undefined) return null;
  const row = await imageOf(deps, wanted);
  if (row.type !== type) throw new SetupError(`${wanted} is not a ${type}`, lookUp);
  return row.id;
}

async function beginImport(deps: Deps, wish: Wish): Promise<{ readonly task: string; readonly image: string }> {
  const { db, clock, relay, settings } = deps;
  const now = clock.date();
  const taskId = newId('import-ami');
  const source = sourceOf(wish.location);
  const asked = { clock, principal: { projectId: await projectId(deps, wish.project) } };
  const row: ImageRow = {
    ...emptyRow(asked, wish.type), name: wish.name === undefined ? taskId : checkName(wish.name), description: checkDescription(wish.description),
    location: shownSource(source), architecture: wish.architecture, isPublic: wish.public, rootDeviceName: '/dev/vda', virtualizationType: 'hvm',
    kernelId: await companion(deps, wish.kernel, 'kernel'), ramdiskId: await companion(deps, wish.ramdisk, 'ramdisk'),
  };
  const made = await insertImport(db, {
    row, tags: [], quota: settings.imagesPerProjectMax,
    task: {
      id: taskId, projectId: row.projectId, userId, imageId: row.id, description: row.description, source, format: wish.format ?? null,
      architecture: row.architecture, state: 'active', stage: 'waiting', createdAt: now, changedAt: now,
    },
    operation: {
      kind: 'image.import', resourceId: row.id, projectId: row.projectId, userId, requestId: newRequestId(), owner: 'objectstore',
      deadline: new Date(now.getTime() + workMs), input: { taskId, source, format: wish.format ?? null },
    },
  }, now);
  if (made.outcome === 'duplicate') throw new SetupError(`the project has ${made.usedBy} of that name`, 'Choose another --name, or delete that one.');
  if (made.outcome === 'overQuota') {
    throw new SetupError(`the project has ${made.limit} ${made.of}, and may have no more`, 'See: novact manage quota show');
  }
  relay.kick();
  return { task: taskId, image: row.id };
}

const list = command({
  category: 'image', verb: 'list', text: 'The images of all projects, or of one.', positional: [],
  args: z.object({ project: project.optional() }),
  run: async (deps, { project: wanted }) => (await registeredImages(deps.db, wanted === undefined ? undefined : await projectId(deps, wanted))).map((row) => ({
    id: row.id, name: row.name, type: row.type, state: row.state, format: row.format ?? '-', bytes: row.sizeBytes ?? '-', public: row.isPublic,
    project: row.projectId, note: row.stateReason ?? '',
  })),
});

const show = command({
  category: 'image', verb: 'show', text: 'What is known of an image, and how far its import has come.', positional: ['id'], args: z.object({ id }),
  async run(deps, args) {
    const row = await imageOf(deps, args.id);
    const task = (await importsOf(deps.db, row.projectId)).find(({ imageId }) => imageId === row.id);
    const permitted = (await launchPermissionsOf(deps.db, [row.id])).map((permission) => permission.projectId);
    return {
      id: row.id, name: row.name, description: row.description, project: row.projectId, type: row.type, state: row.state, note: row.stateReason ?? '',
      location: row.location, architecture: row.architecture, kernel: row.kernelId ?? '-', ramdisk: row.ramdiskId ?? '-', format: row.format ?? '-',
      bytes: row.sizeBytes ?? '-', virtualBytes: row.virtualSizeBytes ?? '-', sha256: row.sha256 ?? '-', public: row.isPublic,
      permitted: permitted.join(', '), copyOf: row.sourceImageId ?? '-', created: row.createdAt.toISOString(),
      ...(task === undefined ? {} : { import: task.id, importState: task.state, stage: task.stage, bytesDone: task.bytesDone, bytesTotal: task.bytesTotal }),
    };
  },
});

const shownTask = (task: ImportTask) => ({
  id: task.id, state: task.state, stage: task.stage, progress: progressOf(task) === undefined ? '-' : `${progressOf(task)} %`, bytesDone: task.bytesDone,
  bytesTotal: task.bytesTotal, format: task.format ?? '-', image: task.imageId, project: task.projectId, source: shownSource(task.source),
  note: task.reason ?? '',
});

const tasks = command({
  category: 'image', verb: 'tasks', text: 'The imports of all projects, or of one: stage, bytes, and why one failed. Kept for seven days.', positional: [],
  args: z.object({ project: project.optional() }),
  run: async (deps, { project: wanted }) => (await importsOf(deps.db, wanted === undefined ? undefined : await projectId(deps, wanted))).map(shownTask),
});

const begin = command({
  category: 'image', verb: 'import', text: 'Makes an image of a disk for a project, converted when it has to be. See how far it is: `image tasks`.',
  positional: ['location', 'project'],
  args: z.object({
    location, project, name, architecture, public: isPublic,
    description: z.string().optional().describe('What it is, in words.'),
    type: z.enum(['machine', 'kernel', 'ramdisk']).default('machine').describe('What it is an image of.'),
    format: z.enum(importFormats).optional().describe('What the disk is; by default as it begins. A VHD of fixed size has to be called so.'),
    kernel: id.optional().describe('The kernel that it boots with.'),
    ramdisk: id.optional().describe('The ramdisk that it boots with.'),
  }),
  run: beginImport,
});

const cancel = command({
  category: 'image', verb: 'cancel', text: 'Ends an import that goes on; what it has made goes.', positional: ['task'],
  args: z.object({ task: z.string().regex(/^import-ami-[0-9a-f]{8,17}$/, 'an id such as import-ami-0123456789abcdef0 is needed').describe('The import.') }),
  async run({ db, clock }, { task }) {
    const before = await cancelImport(db, { id: task, reason: 'cancelled by an operator' }, clock.date());
    if (before === 'active') return `${task} is being cancelled`;
    throw new SetupError(before === undefined ? `there is no import ${task}` : `${task} is ${before}`, 'See: novact manage image tasks');
  },
});

const remove = command({
  category: 'image', verb: 'delete', text: 'Deregisters an image, whoever\'s it is. Instances that stand on it go on.', positional: ['id'],
  args: z.object({ id }),
  async run(deps, args) {
    const { db, clock, relay } = deps;
    const row = await imageOf(deps, args.id);
    const operation = {
      kind: 'image.deregister', resourceId: row.id, projectId: row.projectId, userId, requestId: newRequestId(), owner: 'objectstore',
      deadline: new Date(clock.now() + workMs),
    };
    if ((await deregisterImage(db, row.id, operation, clock.date())) === undefined) throw new SetupError(`there is no image ${row.id}`, lookUp);
    relay.kick();
    return `${row.id} is deregistered`;
  },
});

/** Nova's words, with its order of arguments. */
const registering = (type: 'kernel' | 'ramdisk') => command({
  category: 'image', verb: `${type}-register`, text: `Makes a ${type} of a file or an object: see \`image import --type ${type}\`.`,
  positional: ['location', 'project', 'name'], args: z.object({ location, project, name, architecture, public: isPublic }),
  run: (deps, args) => beginImport(deps, { ...args, type }),
});

const registerMachine = command({
  category: 'image', verb: 'image-register', text: 'Makes an image of a disk, with the kernel and ramdisk it boots with: see `image import`.',
  positional: ['location', 'project', 'name'],
  args: z.object({
    location, project, name, architecture, public: isPublic, kernel: id.optional().describe('The kernel.'), ramdisk: id.optional().describe('The ramdisk.'),
  }),
  run: (deps, args) => beginImport(deps, { ...args, type: 'machine' }),
});

const registerAll = command({
  category: 'image', verb: 'all-register', text: 'Makes a kernel, a ramdisk, and the image that boots with both.',
  positional: ['image', 'kernel', 'ramdisk', 'project'],
  args: z.object({
    image: location, kernel: location.describe('That of the kernel.'), ramdisk: location.describe('That of the ramdisk.'), project, name, architecture,
    public: isPublic,
  }),
  async run(deps, { image, kernel, ramdisk, name: given, ...rest }) {
    const named = (of: string) => (given === undefined ? {} : { name: `${given}-${of}`.slice(0, 128) });
    const [kernelId, ramdiskId] = [
      (await beginImport(deps, { ...rest, ...named('kernel'), type: 'kernel', location: kernel })).image,
      (await beginImport(deps, { ...rest, ...named('ramdisk'), type: 'ramdisk', location: ramdisk })).image,
    ];
    const made = await beginImport(deps, { ...rest, name: given, type: 'machine', location: image, kernel: kernelId, ramdisk: ramdiskId });
    return { ...made, kernel: kernelId, ramdisk: ramdiskId };
  },
});

export const imageCommands: readonly ManageCommand<Deps>[] = [
  list, show, begin, tasks, cancel, remove, registerMachine, registering('kernel'), registering('ramdisk'), registerAll,
];
