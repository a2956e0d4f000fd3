// Imports of images: of a disk of another kind, that lies in a bucket, with its progress.
import {
  cancelImport, findByImportToken, importsOf, insertImport, loadImport, type ImportInserted, type ImportSource, type ImportTask,
} from '../../../db/imports.ts';
import type { ImageRow } from '../../../db/images.ts';
import { tagsOf, type TagText } from '../../../db/tags.ts';
import { importFormats, type ImportFormat } from '../../../drivers/disk/driver.ts';
import { newId } from '../../../lib/ids.ts';
import { mayReadObject } from '../../s3/access.ts';
import { action, fail, type Call, type Filters, type InputOf } from '../action.ts';
import { describe } from '../describe.ts';
import { checkDescription, emptyRow } from '../image-request.ts';
import { checkClientToken, requestDigest } from '../launch-request.ts';
import { admitWork } from '../notify.ts';
import { checkedId, failNotFound, wantedIds } from '../resource-kinds.ts';
import { importState, progressOf, showImport } from '../show-import.ts';
import { tagsFor } from '../tag-specifications.ts';
import { requireRelease } from '../upgrading.ts';
import { refuseEncryption } from '../volume-request.ts';

const importTimeoutMs = 6 * 60 * 60_000;
const changers = ['projectmanager', 'sysadmin'] as const;
const rootDeviceNameDefault = '/dev/vda';

const importAction = action({
  name: 'ImportImage',
  doc: 'An image of a disk that lies in a bucket (RAW, QCOW2, VMDK, VDI or VHD), converted when it has to be. Only one disk, which boots by BIOS; its content '
    + 'is not changed. A `Url` is of the form `s3://bucket/key`. Repeating it with the same ClientToken begins nothing again.',
  roles: changers,
  errors: [
    'IdempotentParameterMismatch', 'InvalidParameter', 'InvalidParameterCombination', 'InvalidParameterValue', 'MissingParameter', 'ResourceLimitExceeded',
    'ServiceUnavailable', 'TagLimitExceeded', 'UnsupportedOperation',
  ],
  async handle(call, input) {
    const wish = checkImport(input);
    const { projectId, userId } = call.principal;
    const token = { projectId, clientToken: checkClientToken(input.ClientToken), requestDigest: requestDigest(input) };
    const earlier = await findByImportToken(call.db, token);
    if (earlier !== undefined) return answer(call, earlier);
    const tags = tagsFor(input.TagSpecifications, 'import-image-task');
    // Missing and forbidden look the same, so that nobody learns what foreign buckets hold.
    if (!(await mayReadObject(call, wish.source))) return call.fail('InvalidParameter', 'Invalid S3 source location.');
    await requireRelease(call, 'objectstore', '0.3.0');
    admitWork(call, 'objectstore');
    const { row, task } = rowsOf(call, wish, token);
    const made = await insertImport(call.db, {
      row, task, tags, quota: call.imagesPerProjectMax,
      operation: {
        kind: 'image.import', resourceId: row.id, projectId, userId, requestId: call.requestId, owner: 'objectstore',
        deadline: new Date(call.clock.now() + importTimeoutMs), input: { taskId: task.id, source: wish.source, format: wish.format ?? null },
      },
    }, call.clock.date());
    if (made.outcome !== 'inserted') return answer(call, made);
    call.relay.kick();
    return answer(call, { outcome: 'repeated', task });
  },
});

interface Wish {
  readonly source: Extract<ImportSource, { kind: 'object' }>;
  readonly format: ImportFormat | undefined;
  readonly description: string;
  readonly architecture: string;
  readonly platform: string | null;
  readonly rootDeviceName: string;
}

function checkImport(input: InputOf<'ImportImage'>): Wish {
  refuseEncryption(input);
  if (input.BootMode !== undefined && input.BootMode !== 'legacy-bios') fail('UnsupportedOperation', 'Instances boot by BIOS: BootMode must be legacy-bios.');
  if ((input.LicenseSpecifications?.length ?? 0) > 0) fail('UnsupportedOperation', 'License configurations are not supported.');
  const [disk, ...others] = input.DiskContainers ?? [];
  if (disk === undefined) return fail('MissingParameter', 'The request must contain the parameter DiskContainers');
  if (others.length > 0) fail('UnsupportedOperation', 'An image is imported of one disk: the one that it boots from.');
  if ((disk.SnapshotId ?? '') !== '') fail('UnsupportedOperation', 'Images of snapshots are made by RegisterImage.');
  const { DeviceName: device = '' } = disk;
  if (device !== '' && !/^\/dev\/[a-z0-9]{1,26}$/.test(device)) {
    fail('InvalidParameterValue', `Value (${device.slice(0, 60)}) for parameter deviceName is invalid.`);
  }
  return {
    source: sourceOf(disk), format: formatOf(disk.Format), description: checkDescription(input.Description),
    architecture: oneOf('architecture', input.Architecture, ['i386', 'x86_64', 'arm64']) ?? 'x86_64',
    platform: oneOf('platform', input.Platform, ['Linux', 'Windows']) ?? null, rootDeviceName: device === '' ? rootDeviceNameDefault : device,
  };
}

function oneOf(name: string, given: string | undefined, valid: readonly string[]): string | undefined {
  if (given === undefined || given === '') return undefined;
  const found = valid.find((value) => value.toLowerCase() === given.toLowerCase());
  return found ?? fail('InvalidParameterValue', `Value (${given.slice(0, 60)}) for parameter ${name} is invalid. Valid values: ${valid.join(', ')}.`);
}

type GivenDisk = NonNullable<InputOf<'ImportImage'>['DiskContainers']>[number];

/** Only what lies here: the cloud fetches nothing from elsewhere for those who use it (docs/decisions/0027-copies-and-imports-of-images.md). */
function sourceOf({ Url: url = '', UserBucket: object }: GivenDisk): Wish['source'] {
  if (url !== '' && object !== undefined) fail('InvalidParameterCombination', 'The parameters Url and UserBucket cannot be used together');
  if (url !== '') {
    const [, bucket = '', key = ''] = /^s3:\/\/([^/]{1,255})\/(.{1,1024})$/.exec(url) ?? [];
    if (bucket === '') {
      fail('InvalidParameterValue', 'Value for parameter url is invalid. It must be s3://BUCKET/KEY, an object of this cloud: upload it first.');
    }
    return { kind: 'object', bucket, key };
  }
  const { S3Bucket: bucket = '', S3Key: key = '' } = object ?? {};
  if (bucket === '') fail('MissingParameter', 'The request must contain the parameter DiskContainers.UserBucket.S3Bucket');
  if (key === '') fail('MissingParameter', 'The request must contain the parameter DiskContainers.UserBucket.S3Key');
  return { kind: 'object', bucket, key };
}

function formatOf(given: string | undefined): ImportFormat | undefined {
  const wanted = (given ?? '').toLowerCase();
  if (wanted === '') return undefined;
  if (wanted === 'ova' || wanted === 'vhdx') fail('UnsupportedOperation', `The format ${wanted} is not supported. Import the disk in it, as VMDK, VHD or RAW.`);
  return importFormats.find((format) => format === wanted)
    ?? fail('InvalidParameterValue', `Value (${wanted.slice(0, 60)}) for parameter format is invalid. Valid values: ${importFormats.join(', ')}.`);
}

function rowsOf(call: Call, wish: Wish, token: Pick<ImportTask, 'clientToken' | 'requestDigest'>): { row: ImageRow; task: ImportTask } {
  const now = call.clock.date();
  const id = newId('import-ami');
  const { source, format, description, architecture, platform, rootDeviceName } = wish;
  const row: ImageRow = {
    ...emptyRow(call, 'machine'), architecture, rootDeviceName, description, name: id, location: `${source.bucket}/${source.key}`.slice(0, 1_300),
    virtualizationType: 'hvm', kernelId: null, ramdiskId: null,
  };
  const task: ImportTask = {
    ...token, id, projectId: row.projectId, userId: call.principal.userId, imageId: row.id, description, source, format: format ?? null, architecture, platform,
    state: 'active', stage: 'waiting', bytesDone: 0, bytesTotal: 0, virtualSizeBytes: null, reason: null, createdAt: now, changedAt: now,
  };
  return { row, task };
}

async function answer(call: Call, made: ImportInserted) {
  switch (made.outcome) {
    case 'repeated': {
      const tags = (await tagsOf(call.db, call.principal.projectId, [made.task.id])).get(made.task.id) ?? [];
      const { BootMode: _boot, ...shown } = showImport(made.task, tags);
      return shown;
    }
    case 'mismatch': return fail('IdempotentParameterMismatch',
      'Arguments on this idempotent request are inconsistent with arguments used in previous request(s).');
    case 'overQuota': return fail('ResourceLimitExceeded', `You have reached the maximum number of ${made.of === 'images' ? 'images' : 'active imports'} `
      + `(${made.limit}).`);
    // Its name is its id.
    case 'inserted': case 'duplicate': throw new Error(`an import was ${made.outcome}`);
  }
}

interface FullTask extends ImportTask {
  readonly tags: readonly TagText[];
}

const filters: Filters<FullTask> = { 'task-state': importState, progress: progressOf };

const describeTasks = action({
  name: 'DescribeImportImageTasks',
  doc: 'The imports of the project: those that go on, and those that ended within seven days. `Status` is AWS\'s, `StatusMessage` the stage, with its bytes, '
    + 'or why it failed.',
  roles: 'anyMember',
  errors: ['InvalidConversionTaskId', 'InvalidConversionTaskId.Malformed', 'InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue'],
  filters: Object.keys(filters),
  async handle(call, input) {
    const { projectId } = call.principal;
    const tasks = await importsOf(call.db, projectId);
    const tags = await tagsOf(call.db, projectId, tasks.map(({ id }) => id));
    const page = describe<FullTask>({
      input, items: tasks.map((task) => ({ ...task, tags: tags.get(task.id) ?? [] })), id: ({ id }) => id, filters, tags: (task) => task.tags,
      ids: wantedIds('import-ami', input.ImportTaskIds), page: { min: 1, max: 1_000 },
    });
    return { ImportImageTasks: page.items.map((task) => showImport(task, task.tags)), NextToken: page.NextToken };
  },
});

const cancel = action({
  name: 'CancelImportTask',
  doc: 'Ends an import that goes on; what it has made goes, and its image.',
  roles: changers,
  errors: ['IncorrectState', 'InvalidConversionTaskId', 'InvalidConversionTaskId.Malformed', 'InvalidParameterValue', 'MissingParameter'],
  async handle(call, input) {
    const { ImportTaskId: id = '', CancelReason: given = '' } = input;
    if (id === '') return call.fail('MissingParameter', 'The request must contain the parameter ImportTaskId');
    checkedId('import-ami', id);
    if (given.length > 255) return call.fail('InvalidParameterValue', 'Value for parameter cancelReason is invalid. Length exceeds maximum of 255.');
    const task = await loadImport(call.db, id);
    if (task === undefined || task.projectId !== call.principal.projectId) return failNotFound('import-ami', id);
    const before = await cancelImport(call.db, { id, reason: given === '' ? 'cancelled by the user' : given }, call.clock.date());
    if (before !== 'active') return call.fail('IncorrectState', `The import task ${id} is ${before ?? 'gone'}, and only active ones can be cancelled.`);
    return { ImportTaskId: id, PreviousState: 'active', State: 'deleting' };
  },
});

export const importActions = [importAction, describeTasks, cancel] as const;
