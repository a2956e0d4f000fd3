// What commands print, and with which code they end.
import { describe, expect, it } from 'vitest';
import { createOutput, NotRunning, reportFailure } from '../../../src/cli/output.ts';
import { settingRows, showChecks, showExplanation } from '../../../src/cli/show.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { DriverError, SetupError } from '../../../src/lib/errors.ts';

function capture(options: { isTTY?: boolean; environment?: Record<string, string> } = {}) {
  const text = { out: '', err: '' };
  const out = { isTTY: options.isTTY ?? false, write: (part: string) => (text.out += part) };
  return { text, output: createOutput(out, { write: (part) => (text.err += part) }, options.environment ?? {}) };
}

describe('colour', () => {
  it('is used on a terminal only, and not when NO_COLOR asks for none', () => {
    expect(capture({ isTTY: true }).output.tint('red', 'x')).toBe('\u001b[31mx\u001b[39m');
    expect(capture().output.tint('red', 'x')).toBe('x');
    expect(capture({ isTTY: true, environment: { NO_COLOR: '1' } }).output.tint('red', 'x')).toBe('x');
    expect(capture({ isTTY: true, environment: { TERM: 'dumb' } }).output.tint('red', 'x')).toBe('x');
  });
});

describe('a table', () => {
  it('is aligned, without frames and without spaces at line ends', () => {
    const { text, output } = capture();
    output.table(['NAME', 'N'], [['a', 1], ['longer', 22]]);
    expect(text.out).toBe('NAME    N\na       1\nlonger  22\n');
  });
});

describe('a failure', () => {
  it.each([
    [new SetupError('bad', 'mend'), 2, 'mend'],
    [new NotRunning('nobody'), 3, 'bin/novact up'],
    [new DriverError('failed', 'broke', { output: 'the last words' }), 1, 'the last words'],
    [new Error('plain'), 1, 'plain'],
    ['thrown text', 1, 'thrown text'],
  ])('%s ends with its code and says what to do', (error, code, words) => {
    const { text, output } = capture();
    expect(reportFailure(error, output)).toBe(code);
    expect(text.err).toContain(words);
    expect(text.out).toBe('');
  });
});

describe('what is shown', () => {
  it('never has a password of a URL in it', () => {
    const around = { isRoot: true, home: '/root', hostname: 'h', installation: '/opt/novact' };
    const rows = settingRows(loadSettings({ environment: { NOVACT_DATABASE_URL: 'postgres://joe:hidden@db.example/novact' }, directory: '/nowhere', around }));
    expect(rows.find(({ name }) => name === 'NOVACT_DATABASE_URL')?.value).toBe('postgres://…@db.example');
    expect(JSON.stringify(rows)).not.toContain('hidden');
  });

  it('has the command that mends each missing thing', () => {
    const { text, output } = capture();
    showChecks([{ name: 'root', state: 'missing', detail: 'needed', remedy: 'sudo npm start' }, { name: 'node', state: 'ok', detail: 'v20' }], output);
    expect(text.out).toMatch(/root +missing +needed/);
    expect(text.out).toMatch(/root +sudo npm start/);
  });

  it('tells what an instance waits for', () => {
    const { text, output } = capture();
    showExplanation({
      id: 'i-1', kind: 'instance', state: 'pending', since: 'T0', host: 'h1', reason: undefined,
      operations: [{
        id: 'op-1', kind: 'instance.run', state: 'running', step: 'image', owner: 'compute@h1', attempts: 2, error: 'no disk', since: 'T1', deadline: 'T2',
      }],
    }, output);
    expect(text.out).toContain('i-1  instance  pending since T0 on h1');
    expect(text.out).toContain('step image');
    expect(text.out).toContain('owner compute@h1, since T1, until T2 at the latest, tries: 2');
    expect(text.out).toContain('last error: no disk');
  });
});
