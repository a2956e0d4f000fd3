// S3's XML: a small writer, and xml2js under limits for what clients send.
import { Parser, processors } from 'xml2js';
import { fail } from './errors.ts';

export const s3Namespace = 'http://s3.amazonaws.com/doc/2006-03-01/';

/** Markup that is escaped already. */
export class Xml {
  readonly markup: string;

  constructor(markup: string) {
    this.markup = markup;
  }
}

export type XmlContent = string | number | boolean | Xml | readonly (Xml | undefined)[];

/** One element. Text is escaped; an undefined child is left out. */
export function element(name: string, content: XmlContent = '', attributes: Readonly<Record<string, string>> = {}): Xml {
  const shown = Object.entries(attributes).map(([key, value]) => ` ${key}="${escapeXml(value)}"`).join('');
  return new Xml(`<${name}${shown}>${inner(content)}</${name}>`);
}

/** A whole document in S3's namespace. */
export function document(name: string, content: XmlContent = ''): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element(name, content, { xmlns: s3Namespace }).markup}`;
}

function inner(content: XmlContent): string {
  if (content instanceof Xml) return content.markup;
  if (typeof content === 'object') return content.map((child) => child?.markup ?? '').join('');
  return escapeXml(String(content));
}

const named: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Control characters become references, as AWS writes them: they are not XML 1.0, but keys may hold them, and `encoding-type=url` is the clean way. */
export function escapeXml(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[&<>"\u0000-\u001f\u007f\ufffe\uffff]/g, (character) => named[character] ?? `&#${character.codePointAt(0)};`);
}

/** A parsed element: the text, and the children by name. */
export interface XmlElement {
  readonly text: string;
  readonly attributes: Readonly<Record<string, string>>;
  all(name: string): readonly XmlElement[];
  /** The text of the only child of that name; undefined when there is none, MalformedXML when there are several. */
  textOf(name: string): string | undefined;
}

/** Parses a document whose root has that name (any namespace or none). Anything else is MalformedXML. */
export async function parseXml(body: Buffer, root: string): Promise<XmlElement> {
  const parser = new Parser({
    explicitArray: true, explicitCharkey: true, explicitRoot: true, trim: false, normalize: false,
    attrkey: '$', charkey: '_', tagNameProcessors: [processors.stripPrefix],
  });
  const parsed: unknown = await parser.parseStringPromise(body.toString('utf8')).catch(() => malformed());
  const found = isRecord(parsed) && Object.hasOwn(parsed, root) ? parsed[root] : undefined;
  if (found === undefined) malformed();
  return wrap(Array.isArray(found) ? found[0] : found);
}

export function malformed(): never {
  return fail('MalformedXML', 'The XML you provided was not well-formed or did not validate against our published schema.');
}

function wrap(value: unknown): XmlElement {
  const record = isRecord(value) ? value : { _: typeof value === 'string' ? value : '' };
  const children = (name: string): readonly XmlElement[] => {
    const list = Object.hasOwn(record, name) ? record[name] : undefined;
    return Array.isArray(list) ? list.map(wrap) : [];
  };
  return {
    text: typeof record['_'] === 'string' ? record['_'] : '',
    attributes: isRecord(record['$']) ? (record['$'] as Record<string, string>) : {},
    all: children,
    textOf(name) {
      const found = children(name);
      if (found.length > 1) malformed();
      return found[0]?.text;
    },
  };
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
