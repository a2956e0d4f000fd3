// The entry of the `novact` command: runs what was asked for and ends the process with a documented code.
import { CommanderError } from 'commander';
import { createOutput, exitCodes, reportFailure } from './output.ts';
import { createProgram } from './program.ts';
import { Interrupted } from './up.ts';

export async function main(argv: readonly string[]): Promise<void> {
  const output = createOutput(process.stdout, process.stderr, process.env);
  let code: number = exitCodes.done;
  const program = createProgram({
    output,
    environment: process.env,
    directory: process.cwd(),
    root: () => import('../roles/all.ts'),
    ended: untilSignal,
    setExitCode: (wanted) => (code = wanted),
  });
  overrideExits(program);
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    if (error instanceof CommanderError) code = error.exitCode === 0 ? exitCodes.done : exitCodes.setup;
    else if (error instanceof Interrupted) code = exitCodes.interrupted;
    else code = reportFailure(error, output);
  }
  // What is still open (a keep-alive connection, a driver's timer) must not hold back a command that is done.
  process.stdout.write('', () => process.exit(code));
}

/** commander ends the process by itself otherwise, with codes of its own. */
function overrideExits(command: ReturnType<typeof createProgram>): void {
  command.exitOverride();
  for (const child of command.commands) overrideExits(child);
}

/** A second signal does not wait for a clean end. */
function untilSignal(): Promise<string> {
  return new Promise((resolve) => {
    let isAsked = false;
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(name, () => {
        if (isAsked) process.exit(exitCodes.interrupted);
        isAsked = true;
        resolve(name);
      });
    }
  });
}
