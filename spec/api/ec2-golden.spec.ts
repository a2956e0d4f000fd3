// Every action's answer, to the letter, in spec/golden/ec2. `npm run golden -- Action` records it.
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allActions } from '../../src/api/ec2/actions/index.ts';
import { createGoldenWorld, queriesOf, type GoldenWorld } from '../support/golden.ts';

const folder = 'spec/golden/ec2';
const recorded = readdirSync(folder).filter((file) => file.endsWith('.xml')).map((file) => file.slice(0, -4));

it('every action has a golden file, and every golden file an action', () => {
  expect(recorded.toSorted()).toEqual(allActions.map(({ name }) => name as string).toSorted());
});

describe('the answer of', () => {
  let world: GoldenWorld;
  beforeAll(async () => {
    world = await createGoldenWorld();
  });
  afterAll(() => world.close());

  it.each(recorded)('%s', async (name) => {
    const text = readFileSync(`${folder}/${name}.xml`, 'utf8');
    const queries = queriesOf(text);
    expect(queries.some((query) => query.includes(`Action=${name}`))).toBe(true);
    expect(await world.play(queries)).toBe(text);
  });
});
