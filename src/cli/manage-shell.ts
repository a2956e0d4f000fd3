// `novact manage shell`: the commands of `novact manage`, one on a line, typed or from a file. Nova's shell was one of its language, with the
// database open; here a running novact does what it is asked, and checks it.

/** As a shell splits a line: quotes keep what is between them together, `\` takes the next character as it is, `#` begins a comment. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < line.length; at += 1) {
    const character = line[at] ?? '';
    const next = line[at + 1];
    const isTaken = character === '\\' && next !== undefined && (quote === '' || (quote === '"' && '"\\$`'.includes(next)));
    if (isTaken) [word, at] = [(word ?? '') + next, at + 1];
    else if (character === quote) quote = '';
    else if (quote !== '') word = (word ?? '') + character;
    else if (character === "'" || character === '"') [quote, word] = [character, word ?? ''];
    else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (character === '#' && word === undefined) break;
    else word = (word ?? '') + character;
  }
  return word === undefined ? words : [...words, word];
}

export interface ShellOptions {
  /** The exit code of one command, whose failure is told already. */
  readonly perform: (words: readonly string[]) => Promise<number>;
  /** What somebody types goes on after a failure; a script ends with it. */
  readonly isScript: boolean;
  /** Before each line. */
  readonly prompt: () => void;
}

/** Returns the exit code: of the first command of a script that fails, or of the last one. */
export async function runShell(lines: AsyncIterable<string>, { perform, isScript, prompt }: ShellOptions): Promise<number> {
  let code = 0;
  prompt();
  for await (const line of lines) {
    const words = splitWords(line);
    if (words.length === 1 && ['exit', 'quit'].includes(words[0] ?? '')) break;
    if (words.length > 0) code = await perform(words);
    if (isScript && code !== 0) break;
    prompt();
  }
  return code;
}
