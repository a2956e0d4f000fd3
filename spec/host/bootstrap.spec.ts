// bin/bootstrap where everything is there: quick, quiet, and nothing is done twice.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { quickestMs } from '../support/quickest.ts';

const bootstrap = fileURLToPath(new URL('../../bin/bootstrap', import.meta.url));
const run = (...args: string[]) => spawnSync(bootstrap, args, { encoding: 'utf8', timeout: 180_000 });

describe('bootstrap', () => {
  it('does nothing the second time, and takes a moment for it', async () => {
    expect(run('--for-tests').status).toBe(0);
    expect(await quickestMs(async () => void run('--for-tests'))).toBeLessThan(3_000);
    const { stdout, status } = run('--for-tests');
    expect(status).toBe(0);
    expect(stdout).toMatch(/packages +all installed/);
    expect(stdout).toMatch(/build +up to date/);
    expect(stdout).toMatch(/novact-tiny +up to date/);
    for (const noise of ['...', '\u001b']) expect(stdout).not.toContain(noise);
  });

  it('refuses what it does not know', () => {
    const { status, stderr } = run('--faster');
    expect([status, stderr]).toEqual([2, expect.stringContaining('unknown argument --faster')]);
  });
});
