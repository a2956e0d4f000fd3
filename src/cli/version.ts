// The version of this installation, read from its package.json.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

let known: string | undefined;

export function version(): string {
  if (known === undefined) {
    const path = fileURLToPath(new URL('../../package.json', import.meta.url));
    known = z.object({ version: z.string() }).parse(JSON.parse(readFileSync(path, 'utf8'))).version;
  }
  return known;
}
