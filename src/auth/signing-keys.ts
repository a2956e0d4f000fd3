// The keys that SigV4 derives from a secret: four HMACs a scope, kept for the scopes in use. A key is kept only after a signature
// made with it was found right, so that strangers cannot fill the cache.
import { createHmac } from 'node:crypto';
import { LRUCache } from 'lru-cache';

export const hmacSha256 = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text, 'latin1').digest();

export interface Scope {
  /** `20261122` */
  readonly date: string;
  readonly region: string;
  readonly service: string;
}

export const scopeText = (scope: Scope): string => `${scope.date}/${scope.region}/${scope.service}/aws4_request`;

/** The key that signs in a scope. */
export function deriveSigningKey(secret: string, scope: Scope): Buffer {
  const dateKey = createHmac('sha256', Buffer.from(`AWS4${secret}`, 'utf8')).update(scope.date).digest();
  return hmacSha256(hmacSha256(hmacSha256(dateKey, scope.region), scope.service), 'aws4_request');
}

export class SigningKeys {
  readonly #keys: LRUCache<string, { readonly secret: string; readonly key: Buffer }>;

  constructor(keysMax = 1000) {
    this.#keys = new LRUCache({ max: keysMax });
  }

  /** The signing key, derived unless kept. A changed secret never meets a key of the old one. */
  find(accessKeyId: string, secret: string, scope: Scope): Buffer {
    const kept = this.#keys.get(nameOf(accessKeyId, scope));
    return kept !== undefined && kept.secret === secret ? kept.key : deriveSigningKey(secret, scope);
  }

  /** Keeps a key that has proved itself. */
  keep(accessKeyId: string, secret: string, scope: Scope, key: Buffer): void {
    const name = nameOf(accessKeyId, scope);
    if (name.length <= nameLengthMax && this.#keys.peek(name)?.key !== key) this.#keys.set(name, { secret, key });
  }
}

/** A client chooses region and service freely: what is absurdly long is not worth its memory. */
const nameLengthMax = 300;

const nameOf = (accessKeyId: string, scope: Scope): string => `${accessKeyId}/${scopeText(scope)}`;
