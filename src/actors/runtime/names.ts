// Names of actors as nact accepts them. Whatever it refuses (IPv6 addresses, `/`, `@`, `:`) is written as `$` and two
// hexadecimal digits for each byte, so that different names stay different.

const refused = /[^A-Za-z0-9\-_.+!*'(),]/gu;

/** The path part for a name. `$` itself is encoded, so that the coding has one reading. */
export function encodeName(name: string): string {
  if (name === '') return '$';
  return name.replace(refused, (character) =>
    Array.from(Buffer.from(character, 'utf8'), (byte) => `$${byte.toString(16).padStart(2, '0')}`).join(''));
}
