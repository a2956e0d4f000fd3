// One request by a connection of its own, without retries: what fails is told.
import { request } from 'node:http';

export interface PlainRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export interface PlainAnswer {
  readonly status: number;
  readonly text: string;
  /** Of an error. */
  readonly code: string | undefined;
}

const timeoutMs = 60_000;

/** Rejects when the connection fails. */
export function sendPlain({ method, url, headers, body }: PlainRequest): Promise<PlainAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers: { ...headers, connection: 'close' }, agent: false, timeout: timeoutMs }, (response) => {
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
