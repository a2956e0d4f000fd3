// A very small EC2 client, so that `novact try` goes through the API like any other: query protocol, Signature Version 4.
import { createHash } from 'node:crypto';
import { text as textOf } from 'node:stream/consumers';
import { parseStringPromise } from 'xml2js';
import { signV4 } from '../auth/sign-v4.ts';
import type { Clock } from '../lib/clock.ts';
import { ApiError, messageOf } from '../lib/errors.ts';
import { webRequest, type Trust } from '../lib/web-request.ts';

/** An element: its text, or its children by name. A list is `{ item: [...] }`. */
export type Xml = string | { readonly [name: string]: readonly Xml[] };

export interface Ec2Client {
  /** The root element of the answer. Errors of the service are ApiErrors. */
  call(action: string, parameters?: Readonly<Record<string, string>>): Promise<Xml>;
}

export interface Ec2ClientOptions {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly clock: Clock;
  /** Whom to believe that it is the cloud; by default those whom everybody believes. */
  readonly trust?: Trust | undefined;
}

const timeoutMs = 30_000;

export function createEc2Client(options: Ec2ClientOptions): Ec2Client {
  const url = new URL(options.endpoint);
  return {
    async call(action, parameters = {}) {
      const body = new URLSearchParams({ Action: action, Version: '2016-11-15', ...parameters }).toString();
      const { host: _, ...headers } = signV4({
        method: 'POST',
        url,
        headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
        accessKeyId: options.accessKeyId,
        secretAccessKey: options.secretAccessKey,
        region: options.region,
        service: 'ec2',
        payloadSha256: createHash('sha256').update(body).digest('hex'),
        date: options.clock.date(),
      });
      const text = await post(options, headers, body, action);
      return rootOf((await parseStringPromise(text)) as Record<string, Xml>);
    },
  };
}

async function post({ endpoint, trust }: Ec2ClientOptions, headers: Record<string, string>, body: string, action: string): Promise<string> {
  const { status, text } = await answerOf(endpoint, { headers, body, trust }).catch((cause: unknown) => {
    throw new Error(`${action}: ${endpoint} does not answer: ${messageOf(cause)}`, { cause });
  });
  if (status === 200) return text;
  const code = /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? String(status);
  throw new ApiError(code, `${action}: ${code}: ${/<Message>([^<]*)<\/Message>/.exec(text)?.[1] ?? text.slice(0, 200)}`, status);
}

async function answerOf(
  url: string, request: { headers: Record<string, string>; body: string; trust: Trust | undefined },
): Promise<{ status: number; text: string }> {
  const response = await webRequest(url, { ...request, method: 'POST', signal: AbortSignal.timeout(timeoutMs) });
  return { status: response.statusCode ?? 0, text: await textOf(response) };
}

function rootOf(document: Record<string, Xml>): Xml {
  const [root] = Object.values(document);
  return root ?? '';
}

/** The text at a path of element names; undefined when it is not there. */
export function textAt(element: Xml, ...path: readonly string[]): string | undefined {
  let here: Xml | undefined = element;
  for (const name of path) here = typeof here === 'object' ? here[name]?.[0] : undefined;
  return typeof here === 'string' ? here : undefined;
}

/** The items of the list at a path. */
export function itemsAt(element: Xml, ...path: readonly string[]): readonly Xml[] {
  let here: Xml | undefined = element;
  for (const name of path) here = typeof here === 'object' ? here[name]?.[0] : undefined;
  return typeof here === 'object' ? (here['item'] ?? []) : [];
}
