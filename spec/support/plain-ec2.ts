// An EC2 client that forgives nothing: a connection for each call, no retry, and every failure is told.
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { signV4 } from '../../src/auth/sign-v4.ts';

export interface PlainAnswer {
  readonly status: number;
  readonly text: string;
  /** Of an error. */
  readonly code: string | undefined;
}

export interface PlainEc2 {
  /** Rejects when the connection fails. */
  call(action: string, parameters?: Readonly<Record<string, string>>): Promise<PlainAnswer>;
}

const timeoutMs = 60_000;

export function createPlainEc2(options: { url: string; accessKeyId: string; secretAccessKey: string; region: string }): PlainEc2 {
  const url = new URL(`${options.url}/`);
  return {
    call(action, parameters = {}) {
      const body = new URLSearchParams({ Action: action, Version: '2016-11-15', ...parameters }).toString();
      const headers = signV4({
        ...options, method: 'POST', url, headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' }, service: 'ec2',
        payloadSha256: createHash('sha256').update(body).digest('hex'), date: new Date(),
      });
      return post(url, { ...headers, connection: 'close' }, body);
    },
  };
}

function post(url: URL, headers: Record<string, string>, body: string): Promise<PlainAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', headers, agent: false, timeout: timeoutMs }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.once('error', reject);
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text, code: /<Code>([^<]*)<\/Code>/.exec(text)?.[1] }));
    });
    sent.once('timeout', () => sent.destroy(new Error(`no answer for ${timeoutMs} ms`)));
    sent.once('error', reject);
    sent.end(body);
  });
}

/** All texts of an element, wherever it is. */
export const textsOf = (text: string, element: string): string[] =>
  [...text.matchAll(new RegExp(`<${element}>([^<]*)</${element}>`, 'g'))].map(([, value = '']) => value);
