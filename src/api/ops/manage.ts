// The shape of `novact manage CATEGORY VERB …`: the command line sends it to the ops server of a running role, which performs it. The
// table of all commands is in src/roles/manage/index.ts; each is declared beside what it calls.
import type { z } from 'zod';

export interface ManageCommand<Deps, Args = unknown> {
  /** `host`, `deadletters`, `instance`, `network`, `service`. */
  readonly category: string;
  /** `list`, `drain`. */
  readonly verb: string;
  /** One sentence for people. */
  readonly text: string;
  /** Names of the arguments, in order: the rest are flags made from the schema's keys. */
  readonly positional: readonly string[];
  /** An object; each key with `.describe(…)`. Booleans are flags without a value. */
  readonly args: z.ZodType<Args>;
  /**
   * What is printed: an array of flat objects is a table, an object a list of names and values, a string a line; of a FileResult, where it was
   * written. `--json` prints it as it is.
   * Throws ApiError or SetupError for what the operator did wrong.
   */
  readonly run: (deps: Deps, args: Args) => Promise<unknown>;
}

/** A result that is for a file: the command line writes it where its argument `file` says, else under this name. */
export interface FileResult {
  readonly file: { readonly name: string; readonly base64: string };
}

/** Keeps the type of the arguments between schema and `run`. */
export const manageCommand = <Deps>() => <Args>(command: ManageCommand<Deps, Args>): ManageCommand<Deps> => command as unknown as ManageCommand<Deps>;
