// A signed EC2 client that costs next to nothing: what a benchmark measures is the server. And the launches that the benchmarks have in common.
import { createHash } from 'node:crypto';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { signV4 } from '../../src/auth/sign-v4.ts';

export interface BenchEc2 {
  /** The XML of the answer. */
  call(action: string, parameters: Readonly<Record<string, string | number>>): Promise<string>;
  /** The ids of what was launched. */
  run(imageId: string, count: number): Promise<string[]>;
  close(): void;
}

export function openBenchEc2(options: { endpoint: string; accessKeyId: string; secretKey: string; region?: string }): BenchEc2 {
  const agent = new Agent({ keepAlive: true });
  const url = new URL(`${options.endpoint}/`);
  const { accessKeyId, secretKey: secretAccessKey, region = 'nova' } = options;
  const call: BenchEc2['call'] = async (action, parameters) => {
    const body = new URLSearchParams({ Action: action, Version: '2016-11-15', ...parameters as Record<string, string> }).toString();
    const headers = signV4({
      method: 'POST', url, accessKeyId, secretAccessKey, region, service: 'ec2', date: new Date(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' }, payloadSha256: createHash('sha256').update(body).digest('hex'),
    });
    const { status, text } = await send(agent, url, { ...headers, 'content-length': String(Buffer.byteLength(body)) }, body);
    if (status !== 200) throw new Error(`${action}: ${status} ${text.slice(0, 400)}`);
    return text;
  };
  return {
    call,
    async run(ImageId, count) {
      const text = await call('RunInstances', { ImageId, InstanceType: 'm1.tiny', MinCount: count, MaxCount: count });
      return [...text.matchAll(/<instanceId>(i-[0-9a-f]+)<\/instanceId>/g)].map(([, id]) => id ?? '');
    },
    close: () => agent.destroy(),
  };
}

function send(agent: Agent, url: URL, headers: Record<string, string>, body: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent, headers, timeout: 60_000 }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part)).on('error', reject)
        .on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }));
    });
    sent.on('error', reject).on('timeout', () => sent.destroy(new Error('no answer within a minute'))).end(body);
  });
}

export interface Launches {
  /** Instances a second from the first call to the last one running. */
  readonly rate: number;
  /** From the call to all of its 50 running. */
  readonly fiftyMs: number;
  /** Of one RunInstances call. */
  readonly answerMs: number;
}

export interface LaunchTarget {
  readonly ec2: Pick<BenchEc2, 'run'>;
  readonly imageId: string;
  /** How many are running now. */
  readonly countRunning: () => Promise<number>;
}

const launchTimeoutMs = 120_000;

async function untilRunning({ countRunning }: LaunchTarget, wanted: number): Promise<void> {
  const end = performance.now() + launchTimeoutMs;
  for (;;) {
    const running = await countRunning();
    if (running >= wanted) return;
    if (performance.now() > end) throw new Error(`${running} of ${wanted} instances run after ${launchTimeoutMs / 1_000} s`);
    await sleep(20);
  }
}

/** Warm first; then 50 by one call, three times; then `count` by calls of ten, four at a time, never more than 200 ahead. */
export async function measureLaunches(target: LaunchTarget, count: number): Promise<Launches & { fifties: number[] }> {
  const { ec2, imageId } = target;
  let wanted = await target.countRunning();
  await ec2.run(imageId, 20);
  await untilRunning(target, (wanted += 20));
  const fifties: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const startedAt = performance.now();
    await ec2.run(imageId, 50);
    await untilRunning(target, (wanted += 50));
    fifties.push(performance.now() - startedAt);
  }
  const answers: number[] = [];
  const first = wanted;
  let asked = 0;
  const startedAt = performance.now();
  const ask = async (): Promise<void> => {
    while (asked < count) {
      const mine = Math.min(10, count - asked);
      asked += mine;
      await untilRunning(target, first + asked - 200);
      const askedAt = performance.now();
      await ec2.run(imageId, mine);
      answers.push(performance.now() - askedAt);
    }
  };
  await Promise.all(Array.from({ length: 4 }, ask));
  await untilRunning(target, first + count);
  const rate = (count * 1_000) / (performance.now() - startedAt);
  const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? Number.NaN;
  return { rate, fiftyMs: middle(fifties), answerMs: middle(answers), fifties };
}
