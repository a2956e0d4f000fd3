// The state folder of a new host.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { prepareStateFolder } from '../../../src/cli/state-folder.ts';

it('is made by all the roles that start at once, each of which finds it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'state-folder-'));
  const state = join(folder, 'var/lib/novact');
  await Promise.all(Array.from({ length: 20 }, () => prepareStateFolder({ state })));
  expect(statSync(state).mode & 0o777).toBe(0o711);
  rmSync(folder, { recursive: true });
});
