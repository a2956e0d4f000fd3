// Percent-encoding as AWS's signatures define it (RFC 3986, upper-case hexadecimal), over byte strings: one character for each
// byte, so that what is not UTF-8 survives. URLSearchParams and encodeURIComponent differ from it in `+`, `*`, `!`, `'`, `(`, `)`.

export interface Parameter {
  readonly name: string;
  readonly value: string;
}

/** Decodes `%41`; what is no valid escape stays as it is. `+` means a space in queries and forms, and itself in paths. */
export function percentDecode(text: string, plus: 'plus' | 'space' = 'plus'): string {
  const spaced = plus === 'space' && text.includes('+') ? text.replaceAll('+', ' ') : text;
  if (!spaced.includes('%')) return spaced;
  return spaced.replaceAll(/%([0-9A-Fa-f]{2})/g, (_escape, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

const hex = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;

/** Encodes everything but the unreserved characters of RFC 3986. */
export function percentEncode(bytes: string): string {
  return bytes.replaceAll(/[^A-Za-z0-9\-._~]/g, hex);
}

/** As percentEncode, and leaves the slashes between path segments. */
export function percentEncodePath(bytes: string): string {
  return bytes.replaceAll(/[^A-Za-z0-9\-._~/]/g, hex);
}

/** The parameters of a query or form, decoded to byte strings, in the order sent. A name without `=` has an empty value. */
export function parseParameters(raw: string): Parameter[] {
  if (raw === '') return [];
  return raw.split('&').filter((pair) => pair !== '').map((pair) => {
    const equals = pair.indexOf('=');
    const [name, value] = equals === -1 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
    return { name: percentDecode(name, 'space'), value: percentDecode(value, 'space') };
  });
}

/** Encoded, sorted by encoded name and then by encoded value, joined: the canonical query of versions 2 and 4. */
export function canonicalParameters(parameters: readonly Parameter[]): string {
  return parameters
    .map(({ name, value }) => ({ name: percentEncode(name), value: percentEncode(value) }))
    .toSorted((left, right) => compareText(left.name, right.name) || compareText(left.value, right.value))
    .map(({ name, value }) => `${name}=${value}`)
    .join('&');
}

const compareText = (left: string, right: string): number => (left < right ? -1 : Number(left > right));
