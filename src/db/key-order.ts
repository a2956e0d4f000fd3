// The order of keys: by their UTF-8 bytes, which is the order of code points. Ranges of keys that share a prefix are half-open
// intervals in it.

const codePointMax = 0x10ffff;

/** The smallest text above every text that begins with `prefix`; undefined when there is none. */
export function afterPrefix(prefix: string): string | undefined {
  const points = Array.from(prefix);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    const code = last.codePointAt(0) ?? 0;
    // Surrogates are no characters: the point after U+D7FF is U+E000.
    if (code < codePointMax) return points.join('') + String.fromCodePoint(code === 0xd7ff ? 0xe000 : code + 1);
  }
  return undefined;
}

/** `prefix` and what follows up to the first delimiter behind it, or undefined when the key has none there: S3's common prefix. */
export function commonPrefix(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === '' || !key.startsWith(prefix)) return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

/** Where a page after `marker` begins: behind the whole group when the marker is a common prefix, else behind that key. */
export function resumeAfter(marker: string, prefix: string, delimiter: string): { readonly from: string } | { readonly after: string } | 'end' {
  if (marker === '' || commonPrefix(marker, prefix, delimiter) !== marker) return { after: marker };
  const from = afterPrefix(marker);
  return from === undefined ? 'end' : { from };
}
