// The lines of `novact manage shell`: how they are split, and where a script ends.
import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { runShell, splitWords } from '../../../src/cli/manage-shell.ts';

it.each([
  'user  list', ` user create 'Joe O'"'"'Neil' `, 'project modify shop --description="two words" --x=a\\ b', `"a \\"b\\" \\\\" 'a\\' "" ''`,
  'host list # all', 'a#b c',
])('are split as by a shell: %s', (line) => {
  const words = execFileSync('sh', ['-c', `printf '%s\\n' ${line}`], { encoding: 'utf8' }).replace(/\n$/, '').split('\n');
  expect(splitWords(line)).toEqual(words);
});

it('have no words when they are empty, or a comment', () => {
  expect(['', '   ', '# user list'].map(splitWords)).toEqual([[], [], []]);
});

async function* lines(...texts: string[]): AsyncIterable<string> {
  yield* texts;
}

async function run(isScript: boolean, ...texts: string[]) {
  const performed: string[] = [];
  let prompts = 0;
  const code = await runShell(lines(...texts), {
    isScript, prompt: () => void (prompts += 1),
    perform: async (words) => {
      performed.push(words.join(' '));
      return words[0] === 'bad' ? 2 : 0;
    },
  });
  return { code, performed, prompts };
}

it('of a script are performed up to the first that fails', async () => {
  expect(await run(true, 'a b', '', 'bad', 'c')).toMatchObject({ code: 2, performed: ['a b', 'bad'] });
  expect(await run(true, 'a', '# c', 'c')).toMatchObject({ code: 0, performed: ['a', 'c'] });
});

it('that are typed go on after a failure, until somebody leaves', async () => {
  expect(await run(false, 'bad', 'c', 'exit', 'd')).toEqual({ code: 0, performed: ['bad', 'c'], prompts: 3 });
});
