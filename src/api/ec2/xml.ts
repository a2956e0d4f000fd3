// The writer: typed output of an operation to XML, by AWS's model, in EC2's form and in that of STS and IAM; and both forms of errors.
// It knows no action.
import { services, speaksPlainQuery, type Operation, type ServiceName, type Shape, type Structure } from './model.ts';

const declaration = '<?xml version="1.0" encoding="UTF-8"?>\n';
const namespaceOf = (service: ServiceName): string => `https://${service}.amazonaws.com/doc/${services[service].version}/`;

/** A successful answer. `version` is the client's own, for the namespace: libcloud and others find nothing under another one. */
export function writeResponse(operation: Operation, output: unknown, context: { requestId: string; version: string }): string {
  const { name } = operation;
  if (speaksPlainQuery(operation.service)) {
    const result = operation.output === undefined ? '' : `<${name}Result>${members(operation.output, output, name)}</${name}Result>`;
    const metadata = `<ResponseMetadata><RequestId>${escapeText(context.requestId)}</RequestId></ResponseMetadata>`;
    return `${declaration}<${name}Response xmlns="${namespaceOf(operation.service)}">${result}${metadata}</${name}Response>`;
  }
  const namespace = `http://ec2.amazonaws.com/doc/${safeVersion(context.version)}/`;
  const body = operation.output === undefined ? '<return>true</return>' : members(operation.output, withReturn(operation.output, output), name);
  return `${declaration}<${name}Response xmlns="${namespace}"><requestId>${escapeText(context.requestId)}</requestId>${body}</${name}Response>`;
}

/** An error, in the form that the service's clients parse. */
export function writeError(service: ServiceName, error: { code: string; message: string; requestId: string; isSender: boolean }): string {
  const detail = `<Code>${escapeText(error.code)}</Code><Message>${escapeText(error.message)}</Message>`;
  const requestId = escapeText(error.requestId);
  if (speaksPlainQuery(service)) {
    const type = error.isSender ? 'Sender' : 'Receiver';
    const content = `<Error><Type>${type}</Type>${detail}</Error><RequestId>${requestId}</RequestId>`;
    return `${declaration}<ErrorResponse xmlns="${namespaceOf(service)}">${content}</ErrorResponse>`;
  }
  return `${declaration}<Response><Errors><Error>${detail}</Error></Errors><RequestID>${requestId}</RequestID></Response>`;
}

/** The client's version when it looks like one, else the model's. `nova` is that of the Admin API's clients. */
export function safeVersion(version: string | undefined): string {
  return version !== undefined && /^(\d{4}-\d{2}-\d{2}|1\.0|nova)$/.test(version) ? version : services.ec2.version;
}

/** Where AWS answers `<return>true</return>`, success is true without the handler's saying so: boto 2 reads nothing else. */
function withReturn(structure: Structure, output: unknown): unknown {
  const hasReturn = structure.members.some((member) => member.name === 'Return' && member.shape === 'boolean');
  return hasReturn && isRecord(output) && output['Return'] === undefined ? { ...output, Return: true } : (output ?? {});
}

function members(structure: Structure, value: unknown, path: string): string {
  if (!isRecord(value)) throw new TypeError(`${path}: the model wants a structure, the handler gave ${typeof value}`);
  let xml = '';
  for (const member of inOrder(structure)) {
    const child = value[member.name];
    if (child !== undefined && child !== null) xml += element(member.xmlName, member.shape, child, path, member.name);
  }
  return xml;
}

const orders = new WeakMap<Structure, Structure['members']>();
const rankOf = (shape: Shape): number => (typeof shape === 'string' ? 0 : shape.kind === 'structure' ? 1 : 2);

/** Lists come last: to boto 2 the end of an item of a list that it does not know is the end of what the list is in, and what follows is lost. */
function inOrder(structure: Structure): Structure['members'] {
  const known = orders.get(structure);
  if (known !== undefined) return known;
  const ordered = structure.members.toSorted((a, b) => rankOf(a.shape) - rankOf(b.shape));
  orders.set(structure, ordered);
  return ordered;
}

function element(tag: string, shape: Shape, value: unknown, path: string, name: string): string {
  const content = typeof shape === 'string' ? scalarText(shape, value, path, name) : composite(shape, value, `${path}.${name}`);
  return content === '' ? `<${tag}/>` : `<${tag}>${content}</${tag}>`;
}

function composite(shape: Exclude<Shape, string>, value: unknown, path: string): string {
  if (shape.kind === 'structure') return members(shape, value, path);
  if (!Array.isArray(value)) throw new TypeError(`${path}: the model wants a list, the handler gave ${typeof value}`);
  let xml = '';
  for (const item of value) if (item !== undefined && item !== null) xml += element(shape.elementName, shape.element, item, path, 'item');
  return xml;
}

function scalarText(shape: Extract<Shape, string>, value: unknown, path: string, name: string): string {
  switch (shape) {
    case 'string':
      if (typeof value === 'string') return escapeText(value);
      break;
    case 'integer':
    case 'decimal':
      if (typeof value === 'number' && Number.isFinite(value)) return String(value);
      break;
    case 'boolean':
      if (typeof value === 'boolean') return value ? 'true' : 'false';
      break;
    case 'timestamp':
      // AWS answers whole seconds, and compares filters with that text.
      if (value instanceof Date) return timestampText(value);
      break;
    case 'blob':
      if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
      break;
  }
  throw new TypeError(`${path}.${name}: the model wants ${shape}, the handler gave ${typeof value}`);
}

/** `2026-01-31T12:00:00.000Z`. */
export const timestampText = (date: Date): string => `${date.toISOString().slice(0, 19)}.000Z`;

/** Markup, what XML 1.0 cannot carry, and what a parser would change. Tab and line feed stay as they are: key material is read with sed, too. */
// oxlint-disable-next-line no-control-regex -- Control characters are what it is for.
const special = /[&<>\u0000-\u0008\u000b-\u001f\u007f-\u009f\ufffe\uffff\p{Cs}]/u;
const specials = new RegExp(special.source, 'gu');
const named: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

/** Text safe between tags in XML 1.0; we write no attribute from a value. Characters that it cannot carry, lone surrogates among them, become U+FFFD. */
export function escapeText(text: string): string {
  if (!special.test(text)) return text;
  return text.replaceAll(specials, (character) => {
    const code = character.charCodeAt(0);
    const isAllowed = code === 13 || (code >= 0x7f && code <= 0x9f);
    return named[character] ?? (isAllowed ? `&#${code};` : '\ufffd');
  });
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
