// Performs `novact manage CATEGORY VERB …` in a running process: finds the command, checks its arguments, and tells the operator's mistakes
// from the cloud's.
import { z } from 'zod';
import { ApiError, DriverError, messageOf, SetupError } from '../../lib/errors.ts';
import type { ManageCommand } from './manage.ts';

export const manageRequest = z.object({
  category: z.string(), verb: z.string(), args: z.record(z.string(), z.unknown()),
  /** The account on the machine from which it comes: whoever has the token could say another. */
  by: z.string().max(64).optional().catch(undefined),
});

export type ManageRequest = z.infer<typeof manageRequest>;

/** `refused`: the operator can mend it; `remedy` says how, if there is something to say. */
export type ManageAnswer =
  | { readonly outcome: 'done'; readonly result: unknown; readonly requestId?: string }
  | { readonly outcome: 'refused' | 'failed'; readonly message: string; readonly remedy?: string; readonly code?: string; readonly requestId?: string };

export type PerformManage = (request: ManageRequest) => Promise<ManageAnswer>;

/** Never rejects. */
export function createManage<Deps>(commands: readonly ManageCommand<Deps>[], deps: Deps): PerformManage {
  return async ({ category, verb, args }) => {
    const command = commands.find((one) => one.category === category && one.verb === verb);
    if (command === undefined) return { outcome: 'refused', message: `this process knows no novact manage ${category} ${verb}: it may be of another release` };
    const read = command.args.safeParse(args);
    if (!read.success) return { outcome: 'refused', message: z.prettifyError(read.error), code: 'ValidationError' };
    try {
      return { outcome: 'done', result: (await command.run(deps, read.data)) ?? null };
    } catch (error) {
      return answerTo(error);
    }
  };
}

function answerTo(error: unknown): ManageAnswer {
  if (error instanceof SetupError) return { outcome: 'refused', message: error.message, remedy: error.remedy, code: 'SetupError' };
  // ApiError, TransportError and the like carry a code; anything else is told as it is.
  const outcome = error instanceof Error && error.name === 'ApiError' ? 'refused' : 'failed';
  const output = error instanceof DriverError && error.output ? `\n${error.output.trim().slice(-1_000)}` : '';
  const code = error instanceof ApiError ? error.code : error instanceof Error ? error.name : 'Error';
  return { outcome, message: `${messageOf(error)}${output}`, code };
}
