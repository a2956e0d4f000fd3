import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { referenceText } from '../../../../scripts/docs-ec2.ts';

it('docs/reference/ec2.md says what is built', () => {
  expect(readFileSync('docs/reference/ec2.md', 'utf8') === referenceText(), 'run npx tsx scripts/docs-ec2.ts').toBe(true);
});
