// The reader: query parameters (`Filter.1.Value.2=running`) to the typed input of an operation, by AWS's model. It knows no action.
// Decisions: parameters that the model does not know are ignored, as Nova did, because clients of every age call us; the dispatcher
// logs their names. List indexes may begin anywhere and have gaps. A scalar takes the first of `X.1`, a list takes a bare `X`.
import { ApiError } from '../../lib/errors.ts';
import { speaksPlainQuery, type List, type Member, type Operation, type Scalar, type Shape, type Structure } from './model.ts';

/** Parameters of one request, names as sent. Of a name given twice the first value counts, except that the body comes before the query. */
export type Parameters = ReadonlyMap<string, string>;

const parametersMax = 10_000;
const depthMax = 10;
const nameLengthMax = 512;

/** Merges the query string and the form body. */
export function parseParameters(query: string, body: string): Parameters {
  const parameters = new Map<string, string>();
  for (const text of [body, query]) {
    for (const pair of text.split('&')) {
      if (pair === '') continue;
      const end = pair.indexOf('=');
      const name = decode(end === -1 ? pair : pair.slice(0, end));
      if (parameters.has(name)) continue;
      if (parameters.size === parametersMax) throw new ApiError('MalformedQueryString', `The request has more than ${parametersMax} parameters.`);
      if (name.length > nameLengthMax) throw new ApiError('MalformedQueryString', `The request has a parameter name of more than ${nameLengthMax} characters.`);
      const value = end === -1 ? '' : decode(pair.slice(end + 1));
      // PostgreSQL has no text with it; binary values come as base64.
      if (value.includes('\0')) throw new ApiError('InvalidParameterValue', `The value of the parameter ${shown(name)} has a NUL character.`);
      parameters.set(name, value);
    }
  }
  return parameters;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new ApiError('MalformedQueryString', 'The query string contains a percent sign or a byte sequence that is not URL-encoded UTF-8.');
  }
}

/** `A.B.1` as a tree: a node has a value, children, or (`A=x&A.1=y`) both. */
interface Node {
  value?: string;
  children?: Map<string, Node>;
}

function treeOf(parameters: Parameters): Node {
  const root: Node = {};
  for (const [name, value] of parameters) {
    const parts = name.split('.');
    if (parts.length > depthMax) throw new ApiError('MalformedQueryString', `The parameter ${shown(name)} is nested more than ${depthMax} deep.`);
    let node = root;
    for (const part of parts) {
      node.children ??= new Map();
      let child = node.children.get(part);
      if (child === undefined) node.children.set(part, (child = {}));
      node = child;
    }
    node.value = value;
  }
  return root;
}

export interface ReadInput {
  readonly input: Readonly<Record<string, unknown>>;
  /** Top-level names that the model does not know, apart from those of the protocol and of signatures. */
  readonly ignored: readonly string[];
}

/** The typed input of an operation. Throws MissingParameter and InvalidParameterValue, naming the parameter as the client would write it. */
export function readInput(operation: Operation, parameters: Parameters): ReadInput {
  const tree = treeOf(parameters);
  const structure: Structure = operation.input ?? { kind: 'structure', members: [] };
  const input = new Reader(speaksPlainQuery(operation.service)).structure(structure, tree, '') ?? Object.create(null);
  const known = new Set(structure.members.map((member) => member.queryName));
  const ignored = [...(tree.children?.keys() ?? [])].filter((name) => !known.has(name) && !isProtocolName(name)).map(shown);
  return { input, ignored };
}

const protocolNames = new Set([
  'Action', 'Version', 'AWSAccessKeyId', 'Signature', 'SignatureMethod', 'SignatureVersion', 'Timestamp', 'Expires', 'SecurityToken',
]);

const isProtocolName = (name: string): boolean => protocolNames.has(name) || name.startsWith('X-Amz-');

/** Reads one request. */
class Reader {
  /** STS and IAM write lists as `X.member.1`. */
  readonly #nestedLists: boolean;

  constructor(nestedLists: boolean) {
    this.#nestedLists = nestedLists;
  }

  structure(structure: Structure, node: Node, path: string): Record<string, unknown> {
    const result: Record<string, unknown> = Object.create(null);
    for (const member of structure.members) {
      const child = node.children?.get(member.queryName);
      const memberPath = path === '' ? member.queryName : `${path}.${member.queryName}`;
      const value = child === undefined ? undefined : this.#value(member.shape, child, memberPath);
      if (value !== undefined) result[member.name] = value;
      if (member.required && isAbsent(value, path)) throw missing(member, memberPath);
    }
    return result;
  }

  #value(shape: Shape, node: Node, path: string): unknown {
    if (typeof shape === 'string') return readScalar(shape, node.value ?? firstElement(node), path);
    if (shape.kind === 'list') return this.#list(shape, node, path);
    if (node.children === undefined) {
      if (node.value === '' || node.value === undefined) return undefined;
      throw new ApiError('InvalidParameterValue', `Value (${shown(node.value)}) for parameter ${path} is invalid. It has members: ${membersOf(shape)}.`);
    }
    return this.structure(shape, node, path);
  }

  #list(list: List, node: Node, path: string): unknown[] | undefined {
    const inner = this.#nestedLists ? node.children?.get('member') : undefined;
    const from = inner ?? node;
    const indexes = [...(from.children?.keys() ?? [])].filter((name) => /^\d{1,9}$/.test(name)).toSorted((a, b) => Number(a) - Number(b));
    const values: unknown[] = [];
    for (const index of indexes) {
      const child = from.children?.get(index);
      const value = child === undefined ? undefined : this.#value(list.element, child, `${path}.${index}`);
      if (value !== undefined) values.push(value);
    }
    if (indexes.length === 0 && typeof list.element === 'string' && node.value !== undefined && node.value !== '') {
      return [readScalar(list.element, node.value, path)];
    }
    return indexes.length === 0 ? undefined : values;
  }
}

/** A required text must not be empty at the top level; deeper, as in a tag's value, empty is a value. */
const isAbsent = (value: unknown, path: string): boolean =>
  value === undefined || (path === '' && value === '') || (Array.isArray(value) && value.length === 0);

function missing(member: Member, path: string): ApiError {
  const indexed = typeof member.shape === 'object' && member.shape.kind === 'list' ? `${path}.1` : path;
  return new ApiError('MissingParameter', `The request must contain the parameter ${indexed}`);
}

function firstElement(node: Node): string | undefined {
  let first: { index: number; value: string } | undefined;
  for (const [name, child] of node.children ?? []) {
    if (!/^\d{1,9}$/.test(name) || child.value === undefined) continue;
    if (first === undefined || Number(name) < first.index) first = { index: Number(name), value: child.value };
  }
  return first?.value;
}

/** An empty text is a value; an empty number, boolean or instant is none. */
function readScalar(scalar: Scalar, text: string | undefined, path: string): unknown {
  if (text === undefined || (text === '' && scalar !== 'string' && scalar !== 'blob')) return undefined;
  switch (scalar) {
    case 'string':
      return text;
    case 'integer':
      return /^-?\d{1,15}$/.test(text) ? Number(text) : invalid(path, text, 'an integer');
    case 'decimal':
      return /^-?\d{1,15}(\.\d{1,15})?([eE][+-]?\d{1,2})?$/.test(text) ? Number(text) : invalid(path, text, 'a number');
    case 'boolean':
      return readBoolean(text, path);
    case 'timestamp':
      return readTimestamp(text, path);
    case 'blob':
      return readBlob(text, path);
  }
}

function readBoolean(text: string, path: string): boolean {
  if (/^(true|1)$/i.test(text)) return true;
  if (/^(false|0)$/i.test(text)) return false;
  return invalid(path, text, 'true or false');
}

function readTimestamp(text: string, path: string): Date {
  const form = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$/;
  const zoned = /T.*(Z|[+-]\d{2}:?\d{2})$/.test(text) || !text.includes('T') ? text : `${text}Z`;
  const date = new Date(zoned);
  return form.test(text) && !Number.isNaN(date.getTime()) ? date : invalid(path, text, 'a time such as 2026-01-31T12:00:00Z');
}

function readBlob(text: string, path: string): Uint8Array {
  const compact = text.replaceAll(/\s/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(compact) || compact.replace(/=+$/, '').length % 4 === 1) return invalid(path, text, 'base64');
  return new Uint8Array(Buffer.from(compact, 'base64'));
}

function invalid(path: string, text: string, expected: string): never {
  throw new ApiError('InvalidParameterValue', `Value (${shown(text)}) for parameter ${path} is invalid. It must be ${expected}.`);
}

/** What may be repeated of a client's text in an error or a log line. */
const shown = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

const membersOf = (structure: Structure): string => structure.members.map((member) => member.queryName).slice(0, 10).join(', ');
