// Multi-step work that survives a crash: steps with an undo, progress in a journal. A run that finds an earlier one's progress goes on
// from there; a failure undoes what was done, last first, the failed step included, for it may have half run.
import { messageOf } from './errors.ts';

export interface Step<Context> {
  readonly name: string;
  /** Repeatable: ensures a state. What it returns is kept (as JSON) for later steps and for a resumed run. */
  readonly do: (context: Context, outputs: StepOutputs) => Promise<unknown>;
  /** Repeatable, and copes with a step that half ran or never began. */
  readonly undo?: (context: Context, outputs: StepOutputs) => Promise<void>;
}

/** The outputs of finished steps, by name. */
export type StepOutputs = Readonly<Record<string, unknown>>;

export interface Flow<Context> {
  readonly name: string;
  readonly steps: readonly Step<Context>[];
}

export interface FlowRecord {
  readonly name: string;
  readonly state: 'doing' | 'done' | 'undone';
  readonly output?: unknown;
}

export interface FlowProgress {
  /** `done`: every step is, and so is the work; the same write ends it. */
  readonly state: 'running' | 'undoing' | 'done';
  readonly records: readonly FlowRecord[];
  readonly error: string | undefined;
}

/** Where progress is kept. */
export interface FlowJournal {
  readonly state: 'running' | 'undoing';
  readonly records: readonly FlowRecord[];
  readonly error: string | undefined;
  /**
   * Throws when this process does not hold the work any more: then nothing further may be done. Resolves with a reason to give up, when the
   * write found one.
   */
  save(progress: FlowProgress): Promise<string | undefined>;
}

export interface FlowOptions {
  /** Asked before each step: a reason to give up, or undefined. */
  readonly giveUp?: () => Promise<string | undefined> | string | undefined;
  /** Aborted when the process stops: the work is left as it is, for the next start. */
  readonly signal?: AbortSignal;
  /** True for an error that is no step's own, and that time will mend: the work is left as it is, and tried again later. */
  readonly mustWait?: (error: unknown) => boolean;
}

export type FlowResult = { readonly done: true; readonly outputs: StepOutputs } | { readonly done: false; readonly error: string };

/** The process is stopping, or must wait for something; the journal has all that the next start needs. */
export class FlowInterrupted extends Error {
  override readonly name = 'FlowInterrupted';
}

/**
 * Runs, resumes or goes on undoing; when it is done, the journal says so. Throws FlowInterrupted, what `journal.save` throws, and what an
 * `undo` throws: the caller tries again later.
 */
export async function runFlow<Context>(flow: Flow<Context>, context: Context, journal: FlowJournal, options: FlowOptions = {}): Promise<FlowResult> {
  const records = new Map(journal.records.map((record) => [record.name, record]));
  const progress = new Progress(flow, records, journal);
  if (journal.state === 'undoing') return undoAll(flow, context, progress, journal.error ?? 'failed', options);
  for (const step of flow.steps) {
    if (records.get(step.name)?.state === 'done') continue;
    try {
      if (options.signal?.aborted) await progress.flush();
      stopIfInterrupted(options);
      const reason = await options.giveUp?.();
      if (reason !== undefined) throw new Error(reason);
      await progress.begin(step.name);
      const output = await step.do(context, progress.outputs());
      progress.note(step.name, { name: step.name, state: 'done', output: output ?? null });
    } catch (error) {
      if (error instanceof FlowInterrupted || error instanceof JournalLost || options.signal?.aborted) throw error;
      if (options.mustWait?.(error) === true) throw new FlowInterrupted(messageOf(error), { cause: error });
      return undoAll(flow, context, progress, messageOf(error), options);
    }
  }
  await progress.finish();
  return { done: true, outputs: progress.outputs() };
}

async function undoAll<Context>(flow: Flow<Context>, context: Context, progress: Progress<Context>, error: string, options: FlowOptions): Promise<FlowResult> {
  await progress.beginUndo(error);
  for (const step of flow.steps.toReversed()) {
    const record = progress.record(step.name);
    if (record === undefined || record.state === 'undone') continue;
    stopIfInterrupted(options);
    await step.undo?.(context, progress.outputs());
    await progress.mark(step.name, { ...record, state: 'undone' });
  }
  return { done: false, error };
}

function stopIfInterrupted(options: FlowOptions): void {
  if (options.signal?.aborted) throw new FlowInterrupted('the process is stopping');
}

/** Wraps what the journal throws, so that it is told apart from a step's own failure. */
export class JournalLost extends Error {
  override readonly name = 'JournalLost';
}

class Progress<Context> {
  readonly #flow: Flow<Context>;
  readonly #records: Map<string, FlowRecord>;
  readonly #journal: FlowJournal;
  #isSaved = true;
  #state: FlowProgress['state'];
  #error: string | undefined;

  constructor(flow: Flow<Context>, records: Map<string, FlowRecord>, journal: FlowJournal) {
    this.#flow = flow;
    this.#records = records;
    this.#journal = journal;
    this.#state = journal.state;
    this.#error = journal.error;
  }

  record(name: string): FlowRecord | undefined {
    return this.#records.get(name);
  }

  outputs(): StepOutputs {
    return Object.fromEntries([...this.#records.values()].filter((record) => record.output !== undefined).map((record) => [record.name, record.output]));
  }

  /** Kept together with the beginning of the next step: one write to disk less for each. A process that dies in between repeats the step. */
  note(name: string, record: FlowRecord): void {
    this.#records.set(name, record);
    this.#isSaved = false;
  }

  /** The record is durable before the effect begins. What the journal said before this run it need not be told again. */
  async begin(name: string): Promise<void> {
    if (this.#isSaved && this.#records.get(name)?.state === 'doing') return;
    this.note(name, { name, state: 'doing' });
    const reason = await this.#save();
    if (reason !== undefined) throw new Error(reason);
  }

  async mark(name: string, record: FlowRecord): Promise<void> {
    this.note(name, record);
    await this.#save();
  }

  async flush(): Promise<void> {
    if (!this.#isSaved) await this.#save();
  }

  async finish(): Promise<void> {
    this.#state = 'done';
    this.#error = undefined;
    await this.#save();
  }

  async beginUndo(error: string): Promise<void> {
    this.#state = 'undoing';
    this.#error = error;
    await this.#save();
  }

  async #save(): Promise<string | undefined> {
    const records = this.#flow.steps.flatMap((step) => this.#records.get(step.name) ?? []);
    try {
      const reason = await this.#journal.save({ state: this.#state, records, error: this.#error });
      this.#isSaved = true;
      return reason;
    } catch (cause) {
      throw new JournalLost(messageOf(cause), { cause });
    }
  }
}
