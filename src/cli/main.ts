// The entry of the `novact` command and of the role launchers: runs what was asked for and ends the process with a documented code.
import type { RoleName } from '../config/options.ts';
import { createOutput, exitCodes } from './output.ts';
import { createProgram, createRoleProgram, exitCodeOf, overrideExits, type ProgramContext } from './program.ts';
import { isSupervised } from './state-folder.ts';

/** With a role, what `bin/novact-ROLE` does. */
export async function main(argv: readonly string[], role?: RoleName): Promise<void> {
  const output = createOutput(process.stdout, process.stderr, process.env);
  let code: number = exitCodes.done;
  const context: ProgramContext = {
    output,
    environment: process.env,
    directory: process.cwd(),
    root: () => import('../roles/all.ts'),
    ended: untilSignal,
    setExitCode: (wanted) => (code = wanted),
  };
  const program = role === undefined ? createProgram(context) : createRoleProgram(context, role);
  overrideExits(program);
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    code = exitCodeOf(error, output);
  }
  // What is still open (a keep-alive connection, a driver's timer) must not hold back a command that is done.
  process.stdout.write('', () => process.exit(code));
}

/** A second signal does not wait for a clean end. */
function untilSignal(): Promise<string> {
  return new Promise((resolve) => {
    let isAsked = false;
    if (isSupervised()) process.stdin.once('end', () => resolve('the supervisor is gone')).resume();
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(name, () => {
        if (isAsked) process.exit(exitCodes.interrupted);
        isAsked = true;
        resolve(name);
      });
    }
  });
}
