// An import as ImportImage and DescribeImportImageTasks show it: AWS's words for its state, and one number for its progress.
import type * as ec2 from '@aws-sdk/client-ec2';
import type { ImportStage, ImportTask } from '../../db/imports.ts';
import type { TagText } from '../../db/tags.ts';

/** From where to where of the whole a stage goes, in percent. */
const spans: Readonly<Record<ImportStage, readonly [from: number, to: number]>> = {
  waiting: [0, 1], fetching: [1, 30], validating: [30, 35], converting: [35, 85], checking: [85, 99], publishing: [99, 100],
};

export const importState = (task: ImportTask): string => task.state;

/** In percent; undefined once it has ended. */
export function progressOf({ state, stage, bytesDone, bytesTotal }: ImportTask): string | undefined {
  if (state !== 'active') return undefined;
  const [from, to] = spans[stage];
  const share = bytesTotal === 0 ? 0 : Math.min(1, bytesDone / bytesTotal);
  return String(Math.floor(from + (to - from) * share));
}

/** Stages of AWS's are `pending`, `validating`, `converting` …; ours have their bytes with them. */
function messageOf({ state, stage, bytesDone, bytesTotal, reason }: ImportTask): string | undefined {
  if (state === 'completed') return undefined;
  if (state !== 'active') return reason ?? undefined;
  return stage === 'waiting' ? 'pending' : `${stage} (${bytesDone} of ${bytesTotal} bytes)`;
}

export function showImport(task: ImportTask, tags: readonly TagText[]): ec2.ImportImageTask {
  const { source } = task;
  return {
    ImportTaskId: task.id,
    Architecture: task.architecture,
    Description: task.description,
    ImageId: task.state === 'completed' ? task.imageId : undefined,
    Platform: task.platform ?? undefined,
    Encrypted: false,
    Progress: progressOf(task),
    Status: task.state,
    StatusMessage: messageOf(task),
    SnapshotDetails: [{
      DiskImageSize: task.virtualSizeBytes === null ? undefined : task.virtualSizeBytes / 2 ** 30,
      Format: task.format === null ? undefined : task.format.toUpperCase(),
      Progress: progressOf(task),
      Status: task.state,
      ...(source.kind === 'object' ? { UserBucket: { S3Bucket: source.bucket, S3Key: source.key } } : {}),
    }],
    BootMode: 'legacy-bios',
    Tags: [...tags],
  };
}
