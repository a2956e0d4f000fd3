// Names of entries as text, and back, after RFC 4514. What comes from people is escaped here and nowhere else; filters need no
// such thing, because they are sent as trees, not as text.

/** One part, `cn=a\, b`: every byte of the value that could mean something is written as a number. */
export const relativeName = (attribute: string, value: string): string => `${attribute}=${escapeValue(value)}`;

/** The name of an entry below another. */
export const nameBelow = (attribute: string, value: string, parent: string): string => `${relativeName(attribute, value)},${parent}`;

const escapeValue = (value: string): string => value.replaceAll(/[,+"\\<>;=#\p{Cc}]|^ | $/gu, (character) =>
  Array.from(Buffer.from(character, 'utf8'), (byte) => `\\${byte.toString(16).padStart(2, '0')}`).join(''));

/** The value of the first part, if it is of the attribute and stands alone: `uid=ann,ou=Users,…` → `ann`. */
export function firstValue(name: string, attribute: string): string | undefined {
  // An escape is two digits or one character that is none: no text can be read in two ways.
  const match = /^ *([A-Za-z][A-Za-z0-9-]*) *= *((?:[^\\,+]|\\[0-9A-Fa-f]{2}|\\[^0-9A-Fa-f])*)(?=,|$)/.exec(name);
  if (match?.[1]?.toLowerCase() !== attribute.toLowerCase()) return undefined;
  const text = match[2] ?? '';
  return text.startsWith('#') || text.startsWith('"') ? undefined : unescapeValue(text);
}

function unescapeValue(text: string): string {
  const bytes = text.replace(/((?:\\[0-9A-Fa-f]{2})+)|\\(.)/gs, (_all, numbers: string | undefined, literal: string | undefined) =>
    numbers === undefined ? (literal ?? '') : Buffer.from(numbers.replaceAll('\\', ''), 'hex').toString('utf8'));
  // Spaces at the end that were not escaped say nothing; an escaped one is a number above, or kept by its backslash.
  return /\\ $|\\20$/i.test(text) ? bytes : bytes.replace(/ +$/, '');
}
