// What commands print: aligned tables, colour on a terminal only, JSON when asked for, and failures with their remedy.
import { styleText } from 'node:util';
import Table from 'cli-table3';
import { DriverError, messageOf, SetupError } from '../lib/errors.ts';

export type Tint = 'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'cyan';

export interface Output {
  /** Text in a colour, or as it is where colours would be noise. */
  tint(tint: Tint, text: string): string;
  line(text?: string): void;
  /** To standard error, so that standard output can be read by programs. */
  note(text: string): void;
  json(value: unknown): void;
  table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void;
}

export interface Stream {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

export function createOutput(out: Stream, err: Stream, environment: Readonly<Record<string, string | undefined>>): Output {
  const isColoured = out.isTTY === true && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb';
  const tint = (name: Tint, text: string) => (isColoured ? styleText(name, text, { validateStream: false }) : text);
  const line = (text = '') => void out.write(`${text}\n`);
  return {
    tint,
    line,
    note: (text) => void err.write(`${text}\n`),
    json: (value) => line(JSON.stringify(value, undefined, 2)),
    table: (head, rows) => line(renderTable(head.map((text) => tint('bold', text)), rows)),
  };
}

/** Columns, no frames: easy to read and to cut. */
function renderTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const none = Object.fromEntries(
    [
      'top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right',
      'left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid',
    ].map((part) => [part, '']),
  );
  const table = new Table({ head: [...head], chars: { ...none, middle: '  ' }, style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 } });
  table.push(...rows.map((row) => [...row]));
  return table.toString().split('\n').map((text) => text.trimEnd()).join('\n');
}

/** Codes of every command: 0 done, 1 it failed, 2 it was called or set up wrongly, 3 no running novact, 130 interrupted. */
export const exitCodes = { done: 0, failed: 1, setup: 2, notRunning: 3, interrupted: 130 } as const;

/** No `novact up` answers on this state folder. Ends a command with exit code 3. */
export class NotRunning extends Error {
  override readonly name = 'NotRunning';
}

/** Says what went wrong and what to do, and with which code to end. */
export function reportFailure(error: unknown, output: Output): number {
  const failed = output.tint('red', 'novact:');
  output.note(`${failed} ${messageOf(error)}`);
  if (error instanceof SetupError) {
    output.note(`  ${output.tint('bold', 'to mend it:')} ${error.remedy}`);
    return exitCodes.setup;
  }
  if (error instanceof NotRunning) {
    output.note(`  ${output.tint('bold', 'to mend it:')} start it with: bin/novact up`);
    return exitCodes.notRunning;
  }
  if (error instanceof DriverError && error.output !== undefined && error.output !== '') output.note(indent(error.output));
  else if (!(error instanceof DriverError) && error instanceof Error && process.env['NOVACT_LOG_LEVEL'] === 'debug') output.note(indent(error.stack ?? ''));
  return exitCodes.failed;
}

const indent = (text: string): string => text.trim().split('\n').slice(-8).map((part) => `  ${part}`).join('\n');
