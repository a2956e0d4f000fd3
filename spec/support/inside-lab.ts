// Specs of parts that only work where Node itself runs: the same file is run by vitest inside the lab, and the spec here says how that went.
import { readFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import type { Lab } from './lab.ts';

const root = resolve(import.meta.dirname, '../..');
const mark = 'NOVACT_INSIDE_LAB';
const insideMs = 1_500_000;

/** Is this process one in the lab? */
export const isInsideLab = (): boolean => process.env[mark] !== undefined;

interface Report {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string; readonly failureMessages: readonly string[] }[];
  }[];
}

/** The names of the tests in that spec file that passed in the lab. Throws with what failed there. */
export async function runInsideLab(lab: Lab, file: string): Promise<readonly string[]> {
  const report = join(lab.shared, 'report.json');
  const flags = ['--configLoader=runner', '--no-cache', '--reporter=json', `--outputFile=${report}`, `--testTimeout=${insideMs}`];
  const ran = await lab.run('node', ['node_modules/vitest/vitest.mjs', 'run', '--project', 'lab', relative(root, file), ...flags], {
    cwd: root, env: { [mark]: 'yes' }, timeoutMs: insideMs, okCodes: [0, 1],
  });
  const text = await readFile(report, 'utf8').catch(() => undefined);
  if (text === undefined) throw new Error(`vitest in the lab left no report:\n${ran.stdout}${ran.stderr}`.slice(-4_000));
  const files = (JSON.parse(text) as Report).testResults;
  const tests = files.flatMap((one) => one.assertionResults);
  const failed = tests.filter(({ status }) => status === 'failed').map(({ fullName, failureMessages }) => `${fullName}\n${failureMessages.join('\n')}`);
  if (ran.code !== 0 || failed.length > 0) throw new Error(`in the lab: ${[...failed, ...files.map((one) => one.message)].join('\n\n')}`.slice(0, 6_000));
  return tests.filter(({ status }) => status === 'passed').map(({ fullName }) => fullName);
}
