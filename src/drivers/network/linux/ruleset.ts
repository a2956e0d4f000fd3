// Tables of nftables as data: written whole, or as what leads from one state of them to another, both for one `nft -f`. Pure. Chains that belong to
// a wish are named after what they hold, so that a rule which changes is another chain, and what was not touched stays as it is in the kernel.
import { createHash } from 'node:crypto';

export interface Collection {
  readonly kind: 'set' | 'map';
  readonly name: string;
  readonly type: string;
  /** Of a map: `key : value`. */
  readonly elements: readonly string[];
}

export interface Chain {
  readonly kind: 'chain';
  readonly name: string;
  /** Of a base chain, the first line says where it hooks in. */
  readonly rules: readonly string[];
}

export interface Table {
  readonly family: 'inet' | 'bridge';
  readonly name: string;
  readonly parts: readonly (Collection | Chain)[];
}

type Named<T> = Omit<T, 'kind'>;
export const setOf = ({ name, type, elements }: Named<Collection>): Collection => ({ kind: 'set', name, type, elements });
export const mapOf = ({ name, type, elements }: Named<Collection>): Collection => ({ kind: 'map', name, type, elements });
export const chainOf = ({ name, rules }: Named<Chain>): Chain => ({ kind: 'chain', name, rules });

/** Long enough that nobody who may choose what is held finds two of one name. */
export const nameAfter = (prefix: string, held: string): string => `${prefix}_${createHash('sha256').update(held).digest('hex').slice(0, 32)}`;

const place = ({ family, name }: Table): string => `${family} ${name}`;

/** Declared first, so that deleting cannot fail. */
export const renderRemoval = (tables: readonly Table[]): string => tables.map((table) => `table ${place(table)}\ndelete table ${place(table)}\n`).join('');

/** In the place of whatever these tables held. */
export const renderTables = (tables: readonly Table[]): string => renderRemoval(tables) + tables.map((table) => block(table, table.parts)).join('');

const indent = (lines: readonly string[]): string => lines.map((line) => `    ${line}\n`).join('');
const block = (table: Table, parts: Table['parts']): string => `table ${place(table)} {\n${parts.map(renderPart).join('')}}\n`;

function renderPart(part: Collection | Chain): string {
  const { kind, name } = part;
  if (part.kind === 'chain') return `  ${kind} ${name} {\n${indent(part.rules)}  }\n`;
  const listed = part.elements.length === 0 ? [] : [`elements = ${listOf(part.elements)}`];
  return `  ${kind} ${name} {\n${indent([part.type, ...listed])}  }\n`;
}

const listOf = (elements: readonly string[]): string => `{ ${elements.join(',\n      ')} }`;

/** What leads from the one to the other. Empty: nothing differs. Undefined: only the whole does. */
export function renderDifference(before: readonly Table[], after: readonly Table[]): string | undefined {
  if (before.map(place).join() !== after.map(place).join()) return undefined;
  const texts = before.map((table, index) => differenceOf(table, after[index] ?? table));
  return texts.includes(undefined) ? undefined : texts.join('');
}

function differenceOf(before: Table, after: Table): string | undefined {
  const [old, now] = [before, after].map(({ parts }) => new Map(parts.map((part) => [part.name, part])));
  if (old === undefined || now === undefined) return undefined;
  const kept = after.parts.flatMap((part) => {
    const was = old.get(part.name);
    return was === undefined ? [] : [{ was, is: part }];
  });
  if (kept.some(({ was, is }) => headOf(was) !== headOf(is))) return undefined;
  const made = after.parts.filter(({ name }) => !old.has(name));
  const gone = before.parts.filter(({ name }) => !now.has(name));
  if ([...made, ...gone].some((part) => part.kind === 'chain' && isBase(part))) return undefined;
  const rewritten = kept.flatMap(({ was, is }) => (was.kind === 'chain' && is.kind === 'chain' && was.rules.join('\n') !== is.rules.join('\n') ? [is] : []));
  const empty = made.map((part) => (part.kind === 'chain' ? part : { ...part, elements: [] }));
  const declared = [...empty, ...rewritten];
  const at = place(after);
  return [
    ...rewritten.map(({ name }) => `flush chain ${at} ${name}\n`),
    declared.length === 0 ? '' : block(after, declared),
    ...kept.map(({ was, is }) => changedElements(at, was, is)),
    ...made.map((part) => (part.kind === 'chain' ? '' : elements('add', `${at} ${part.name}`, part.elements))),
    ...removal(at, gone),
  ].join('');
}

/** Chains name sets, and elements of maps name chains: emptied first, nothing holds on to another. */
function removal(at: string, gone: Table['parts']): string[] {
  const inOrder = [...gone.filter(({ kind }) => kind === 'chain'), ...gone.filter(({ kind }) => kind !== 'chain')];
  return ['flush', 'delete'].flatMap((verb) => inOrder.map(({ kind, name }) => `${verb} ${kind} ${at} ${name}\n`));
}

const isBase = ({ rules }: Chain): boolean => rules[0]?.startsWith('type ') === true;

/** What cannot be changed of something that is there. */
const headOf = (part: Collection | Chain): string =>
  (part.kind === 'chain' ? `chain ${isBase(part) ? part.rules[0] : ''}` : `${part.kind} ${part.type}`);

function changedElements(at: string, was: Collection | Chain, is: Collection | Chain): string {
  if (was.kind === 'chain' || is.kind === 'chain') return '';
  const [old, now] = [new Set(was.elements), new Set(is.elements)];
  const gone = was.elements.filter((element) => !now.has(element)).map((element) => element.split(' : ')[0] ?? element);
  const which = `${at} ${is.name}`;
  return elements('delete', which, gone) + elements('add', which, is.elements.filter((element) => !old.has(element)));
}

const elements = (verb: 'add' | 'delete', which: string, of: readonly string[]): string =>
  (of.length === 0 ? '' : `${verb} element ${which} ${listOf(of)}\n`);
