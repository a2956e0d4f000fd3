// Records golden files of EC2 actions: `npm run golden -- Action` plays the requests of spec/golden/ec2/Action.xml again, with requests
// behind the name (`Action=CreateKeyPair&KeyName=a`) those instead; `--all` plays every file again. Read the difference before committing.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createGoldenWorld, queriesOf } from '../spec/support/golden.ts';

const folder = new URL('../spec/golden/ec2/', import.meta.url);

function requestsFor(name: string, given: readonly string[]): string[] {
  if (given.length > 0) return given.map((query) => (query.startsWith('Action=') ? query : `Action=${name}&${query}`));
  const file = new URL(`${name}.xml`, folder);
  return existsSync(file) ? queriesOf(readFileSync(file, 'utf8')) : [`Action=${name}`];
}

const [name, ...given] = process.argv.slice(2);
if (name === undefined) {
  console.error('usage: npm run golden -- ACTION [REQUEST…] | --all');
  process.exit(2);
}
const names = name === '--all' ? readdirSync(folder).filter((file) => file.endsWith('.xml')).map((file) => file.slice(0, -4)) : [name];
const world = await createGoldenWorld();
for (const each of names) {
  const text = await world.play(requestsFor(each, given));
  writeFileSync(new URL(`${each}.xml`, folder), text);
  if (names.length === 1) console.log(text);
}
await world.close();
// Databases of specs are kept for the next one, and would keep this process.
process.exit();
