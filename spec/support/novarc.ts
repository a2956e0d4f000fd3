// What the cloud's founder sources: `novarc`, as variables.

/** As a POSIX shell would read it. */
export function parseNovarc(text: string): Record<string, string> {
  const lines = [...text.matchAll(/^export ([A-Z0-9_]+)=(.*)$/gm)];
  return Object.fromEntries(lines.map(([, name = '', value = '']) => [name, value.replace(/^'(.*)'$/, '$1').replaceAll("'\\''", "'")]));
}
