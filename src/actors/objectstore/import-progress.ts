// How far an import has come, written down as it goes; and how whoever works on it learns that it was cancelled.
import { noteImport, type ImportProgress, type ImportStage } from '../../db/imports.ts';
import { FlowInterrupted } from '../../lib/flow.ts';
import type { ImageContext } from './register-image.ts';

export interface StageWatch {
  /** Aborted when the import is cancelled, or its process stops. */
  readonly signal: AbortSignal;
  /** Bytes of this stage that are done, of all. Written with the next beat. */
  readonly onBytes: (bytesDone: number) => void;
}

export interface Stage extends Pick<ImportProgress, 'format' | 'virtualSizeBytes'> {
  readonly name: ImportStage;
  readonly bytesTotal: number;
}

const beatMs = 2_000;

export class ImportCancelled extends Error {
  override readonly name = 'ImportCancelled';

  constructor() {
    super('the import was cancelled');
  }
}

/** Does the work of a stage, with a sign of life every two seconds. Throws ImportCancelled when nobody wants it any more. */
export async function inStage<T>(context: ImageContext, { name, bytesTotal, ...found }: Stage, work: (watch: StageWatch) => Promise<T>): Promise<T> {
  const { db, clock, log, input } = context;
  const taskId = String(input['taskId']);
  const cancelled = new AbortController();
  let bytesDone = 0;
  const note = async (): Promise<void> => {
    if (!(await noteImport(db, taskId, { stage: name, bytesTotal, bytesDone, ...found }, clock.date()))) cancelled.abort(new ImportCancelled());
  };
  await note();
  cancelled.signal.throwIfAborted();
  let isDone = false;
  const beat = (): void => void clock.after(beatMs, () => {
    if (isDone) return;
    note().catch((error: unknown) => log?.warn({ task: taskId, error }, 'the progress of an import could not be written')).finally(beat);
  }, { unref: true });
  beat();
  const signal = context.signal === undefined ? cancelled.signal : AbortSignal.any([context.signal, cancelled.signal]);
  try {
    return await work({ signal, onBytes: (bytes) => { bytesDone = Math.max(bytesDone, Math.round(bytes)); } });
  } catch (error) {
    cancelled.signal.throwIfAborted();
    if (context.signal?.aborted === true) throw new FlowInterrupted('the process is stopping', { cause: error });
    throw error;
  } finally {
    isDone = true;
  }
}
