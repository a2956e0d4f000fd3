// An S3 client that forgives as little as the EC2 one of plain-ec2.ts.
import { createHash } from 'node:crypto';
import { signV4 } from '../../src/auth/sign-v4.ts';
import { sendPlain, type PlainAnswer } from './plain-http.ts';

export interface PlainS3 {
  /** `path` is `/bucket/key`. Rejects when the connection fails. */
  call(method: string, path: string, body?: string): Promise<PlainAnswer>;
}

export function createPlainS3(options: { url: string; accessKeyId: string; secretAccessKey: string; region: string }): PlainS3 {
  return {
    call(method, path, body = '') {
      const url = new URL(path, options.url);
      const headers = signV4({ ...options, method, url, service: 's3', payloadSha256: createHash('sha256').update(body).digest('hex'), date: new Date() });
      return sendPlain({ method, url, headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) }, body });
    },
  };
}
