// One request by HTTP or HTTPS whose server may be certified by an authority of ours, beside those that everybody trusts: `fetch` takes none.
import { request as requestPlain, type IncomingMessage } from 'node:http';
import { Agent, request as requestSecure } from 'node:https';
import type { Readable } from 'node:stream';
import { createSecureContext, rootCertificates } from 'node:tls';

export interface WebRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Of a stream, the headers tell the length. */
  readonly body?: string | Readable;
  readonly signal: AbortSignal;
  /** Whom to believe; by default those whom everybody believes. */
  readonly trust?: Trust | undefined;
}

export type Trust = Agent;

/** Whom everybody believes, and one more, in PEM. It takes a while to make: keep it. */
export const trusting = (authority: string): Trust =>
  new Agent({ keepAlive: true, secureContext: createSecureContext({ ca: [...rootCertificates, authority] }) });

/** Resolves when the answer begins: its body is to be read. Rejects with why there is none. */
export function webRequest(url: string | URL, { method = 'GET', headers = {}, body, signal, trust }: WebRequest): Promise<IncomingMessage> {
  const { protocol } = new URL(url);
  return new Promise((resolve, reject) => {
    const options = { method, headers, signal };
    const sent = protocol === 'https:'
      ? requestSecure(url, { ...options, agent: trust }, resolve)
      : requestPlain(url, options, resolve);
    // Not once: a server that has answered may still close before it has read everything.
    sent.on('error', reject);
    if (body === undefined || typeof body === 'string') sent.end(body);
    else body.on('error', (error) => sent.destroy(error)).pipe(sent);
  });
}
