// An EC2 client that forgives nothing: a connection for each call, no retry, and every failure is told.
import { createHash } from 'node:crypto';
import { signV4 } from '../../src/auth/sign-v4.ts';
import { sendPlain, type PlainAnswer } from './plain-http.ts';

export interface PlainEc2 {
  /** Rejects when the connection fails. */
  call(action: string, parameters?: Readonly<Record<string, string>>): Promise<PlainAnswer>;
}

export function createPlainEc2(options: { url: string; accessKeyId: string; secretAccessKey: string; region: string }): PlainEc2 {
  const url = new URL(`${options.url}/`);
  return {
    call(action, parameters = {}) {
      const body = new URLSearchParams({ Action: action, Version: '2016-11-15', ...parameters }).toString();
      const headers = signV4({
        ...options, method: 'POST', url, headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' }, service: 'ec2',
        payloadSha256: createHash('sha256').update(body).digest('hex'), date: new Date(),
      });
      return sendPlain({ method: 'POST', url, headers, body });
    },
  };
}

/** All texts of an element, wherever it is. */
export const textsOf = (text: string, element: string): string[] =>
  [...text.matchAll(new RegExp(`<${element}>([^<]*)</${element}>`, 'g'))].map(([, value = '']) => value);
