// The operations of S3 by the clients of S3, each unmodified, all at once against one `novact up`: every cell of the table in spec/support/s3-matrix.ts,
// and no other, so that the page that is written from it says what was seen here.
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { python } from '../support/clients.ts';
import { cellsOf, clientNames, type ClientName } from '../support/s3-matrix.ts';
import { awscliCells } from './s3-matrix/awscli.ts';
import { openCommandServer, startedEachTime } from './s3-matrix/commands.ts';
import { rcloneCells, rcloneConfiguration, rcloneEnvironment } from './s3-matrix/rclone.ts';
import { s3cmdCells, s3cmdConfiguration } from './s3-matrix/s3cmd.ts';
import { sdkCells } from './s3-matrix/sdk.ts';
import { foreign, oddKeys, onlyV2, onlyV4, region, startMatrixWorld, type Cells, type MatrixWorld } from './s3-matrix/world.ts';

/** What became of a client's cells: nothing, or what went wrong. */
type Outcomes = ReadonlyMap<string, string | undefined>;

/** A client's first test waits for all of its cells, while five others work. */
const patienceMs = 900_000;

let world: MatrixWorld;
const outcomes = new Map<ClientName, Promise<Outcomes>>();

beforeAll(async () => {
  world = await startMatrixWorld();
  for (const name of clientNames) {
    const started = clients[name]();
    started.catch(() => undefined); // its own tests say so
    outcomes.set(name, started);
  }
}, patienceMs);
afterAll(async () => {
  await Promise.allSettled(outcomes.values());
  world?.sdk.destroy();
  await world?.cloud.close();
}, patienceMs);

const clients: Readonly<Record<ClientName, () => Promise<Outcomes>>> = {
  async s3cmd() {
    await writeFile(join(world.files, 's3cfg'), s3cmdConfiguration(world.port, world.key.accessKeyId, world.key.secretAccessKey), { mode: 0o600 });
    const modules = ['S3.S3', 'S3.Config', 'S3.FileLists', 'S3.MultiPart', 'S3.CloudFront', 'S3.Progress', 'S3.Crypto'];
    const server = openCommandServer('/usr/bin/s3cmd', modules, { HOME: world.files, LANG: 'C.UTF-8' });
    return oneByOne(s3cmdCells(world, server.command)).finally(() => server.close());
  },
  async awscli() {
    const modules = ['awscli.clidriver', 'awscli.handlers', 'awscli.customizations.s3.subcommands', 'awscli.customizations.s3.s3handler'];
    const server = openCommandServer('/usr/bin/aws', modules, {
      AWS_ACCESS_KEY_ID: world.key.accessKeyId, AWS_SECRET_ACCESS_KEY: world.key.secretAccessKey, AWS_DEFAULT_REGION: region, AWS_EC2_METADATA_DISABLED: 'true',
      AWS_MAX_ATTEMPTS: '1', AWS_PAGER: '', HOME: world.files, LANG: 'C.UTF-8',
    });
    return oneByOne(awscliCells(world, server.command)).finally(() => server.close());
  },
  boto2: () => inPython('boto2'),
  boto3: () => inPython('boto3'),
  async rclone() {
    const file = join(world.files, 'rclone.conf');
    await writeFile(file, rcloneConfiguration(world), { mode: 0o600 });
    return oneByOne(rcloneCells(world, startedEachTime('/usr/bin/rclone', { ...rcloneEnvironment, RCLONE_CONFIG: file, HOME: world.files })));
  },
  sdk: () => oneByOne(sdkCells(world)),
};

async function oneByOne(cells: Cells): Promise<Outcomes> {
  const seen = new Map<string, string | undefined>();
  for (const [name, run] of Object.entries(cells)) {
    seen.set(name, await run().then(() => undefined, (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error))));
  }
  return seen;
}

/** A program that runs all cells of its client, and prints a line for each. */
async function inPython(client: 'boto2' | 'boto3'): Promise<Outcomes> {
  const { key, other, port, files } = world;
  const child = spawn(python, [join(import.meta.dirname, `s3-matrix/${client}-cells.py`)], {
    stdio: ['ignore', 'pipe', 'pipe'], env: {
      PATH: process.env['PATH'], HOME: files, PYTHONDONTWRITEBYTECODE: '1', AWS_EC2_METADATA_DISABLED: 'true', CLIENT: client, S3_PORT: String(port),
      FILES: files, KEY: key.accessKeyId, SECRET: key.secretAccessKey, OTHER_KEY: other.accessKeyId, OTHER_SECRET: other.secretAccessKey,
      OTHER_ID: other.projectId, ONLY_V2: onlyV2, ONLY_V4: onlyV4, FOREIGN: foreign, ODD_KEYS: JSON.stringify(oddKeys),
    },
  });
  const seen = new Map<string, string | undefined>();
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => void (said = `${said}${chunk.toString()}`.slice(-10_000)));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { cell, error } = JSON.parse(line) as { cell: string; error: string | null };
    seen.set(cell, error ?? undefined);
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`the program for ${client} ended with ${String(code)}:\n${said}`);
  return seen;
}

describe.each(clientNames)('S3 by %s', (client) => {
  it('does what the page says that it does, and nothing else', async () => {
    expect([...(await outcomes.get(client) ?? [])].map(([name]) => name).toSorted()).toEqual(cellsOf(client).toSorted());
  }, patienceMs);

  it.each(cellsOf(client))('%s', async (name) => {
    const error = (await outcomes.get(client))?.get(name);
    if (error !== undefined) throw new Error(error);
  }, patienceMs);
});
