// What every client of the S3 matrix finds: a cloud on simulated guests with two projects, files to put, and buckets whose policies let one version of
// signatures in only.
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateBucketCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { startSimCloudProcess, type ProjectKey, type SimCloudProcess } from '../../support/sim-cloud-process.ts';

/** A cell by the name of its row. */
export type Cells = Readonly<Record<string, () => Promise<void>>>;

export interface MatrixWorld {
  readonly cloud: SimCloudProcess;
  readonly port: number;
  readonly key: ProjectKey;
  readonly other: ProjectKey;
  /** For whatever a client cannot set up by itself. It does not repeat. */
  readonly sdk: S3Client;
  /** With `empty`, `small`, `medium` (3 MiB) and `large` (two parts of 5 MiB and 17 bytes). */
  readonly files: string;
}

export const region = 'nova';
export const origin = 'http://example.com';
export const small = 'a small file\n';
export const partSize = 5 << 20;
export const largeSize = 2 * partSize + 17;
export const onlyV2 = 'signature-2-only';
export const onlyV4 = 'signature-4-only';
/** Of the other project. */
export const foreign = 'somebody-elses';
export const oddKeys = ['ü +&%2F #?.txt', 'dir/💾', '<a> "b" \'c\'', 'Ω~!*();:@=$,'];

export function sdkClient(port: number, { accessKeyId, secretAccessKey }: Pick<ProjectKey, 'accessKeyId' | 'secretAccessKey'>): S3Client {
  return new S3Client({ endpoint: `http://127.0.0.1:${port}`, region, forcePathStyle: true, maxAttempts: 1, credentials: { accessKeyId, secretAccessKey } });
}

export async function startMatrixWorld(): Promise<MatrixWorld> {
  // Wrong signatures belong to it: they must not lock a key out that all use.
  const cloud = await startSimCloudProcess('s3-matrix', { NOVACT_LOCKOUT_ATTEMPTS: '0' });
  try {
    return await furnish(cloud);
  } catch (error) {
    await cloud.close();
    throw error;
  }
}

async function furnish(cloud: SimCloudProcess): Promise<MatrixWorld> {
  const port = cloud.s3Port;
  const [key, other] = await Promise.all([cloud.createProject('matrix'), cloud.createProject('neighbour')]);
  const files = join(cloud.folder, 'files');
  await mkdir(files);
  await writeFile(join(files, 'empty'), '');
  await writeFile(join(files, 'small'), small);
  await writeFile(join(files, 'medium'), randomBytes(3 << 20));
  await writeFile(join(files, 'large'), randomBytes(largeSize));
  const sdk = sdkClient(port, key);
  const theirs = sdkClient(port, other);
  await theirs.send(new CreateBucketCommand({ Bucket: foreign }));
  theirs.destroy();
  for (const [Bucket, denied] of [[onlyV2, 'AWS4-HMAC-SHA256'], [onlyV4, 'AWS']] as const) {
    await sdk.send(new CreateBucketCommand({ Bucket }));
    const Condition = { StringEquals: { 's3:signatureversion': denied } };
    const statement = { Effect: 'Deny', Principal: '*', Action: 's3:*Object', Resource: `arn:aws:s3:::${Bucket}/*`, Condition };
    await sdk.send(new PutBucketPolicyCommand({ Bucket, Policy: JSON.stringify({ Version: '2012-10-17', Statement: [statement] }) }));
  }
  return { cloud, port, key, other, sdk, files };
}

/** What a browser or curl gets. `path` begins with a slash, or is a whole address. */
export function plain({ port }: MatrixWorld, path: string, options: RequestInit = {}): Promise<Response> {
  return fetch(path.startsWith('/') ? `http://127.0.0.1:${port}${path}` : path, { redirect: 'manual', ...options });
}

export async function statusOf(world: MatrixWorld, path: string, options: RequestInit = {}): Promise<number> {
  const answer = await plain(world, path, options);
  await answer.arrayBuffer();
  return answer.status;
}

/** 200 where pages of `origin` may read, else 403. */
export const preflight = (world: MatrixWorld, bucket: string): Promise<number> =>
  statusOf(world, `/${bucket}/key`, { method: 'OPTIONS', headers: { Origin: origin, 'Access-Control-Request-Method': 'GET' } });

/** The address reads `small`; with another signature it is refused. */
export async function holdsAddress(world: MatrixWorld, url: string): Promise<void> {
  const answer = await plain(world, url);
  expect([answer.status, await answer.text()]).toEqual([200, small]);
  expect(await statusOf(world, url.replace('Signature=', 'Signature=A'))).toBe(403);
}

/** `name` for the bucket of each cell that asks. */
export function bucketNames(client: string): () => string {
  let made = 0;
  return () => `${client}-${++made}`;
}

export const readable = (bucket: string): string => JSON.stringify({
  Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${bucket}/*` }],
});

export async function sameFile(one: string, other: string): Promise<void> {
  expect((await readFile(one)).equals(await readFile(other)), `${one} is ${other}`).toBe(true);
}

/** Three files to bring into step. */
export async function syncFolder(files: string, name: string): Promise<string> {
  const folder = join(files, name);
  await mkdir(join(folder, 'sub'), { recursive: true });
  await writeFile(join(folder, 'changed'), 'before');
  await writeFile(join(folder, 'gone'), 'goes');
  await writeFile(join(folder, 'sub', 'ü +'), small);
  return folder;
}
