// How two hosts of a cloud know each other when one fetches an instance's disk from the other: TLS with a pre-shared key that both derive
// from the cloud's secret for this one move. No certificates to hand out; what is sent is encrypted, and a key opens one instance's files.
import { createHmac } from 'node:crypto';

export interface Move {
  readonly instanceId: string;
  readonly operationId: string;
  readonly target: string;
}

/** The identity that is sent in the open: it names the move, and says nothing of the key. */
export const identityOf = ({ instanceId, operationId, target }: Move): string => `${instanceId}/${operationId}/${target}`;

export function moveOf(identity: string): Move | undefined {
  const match = /^(i-[0-9a-f]{8,32})\/(op-[0-9a-f]{8,32})\/([A-Za-z0-9][A-Za-z0-9._-]{0,62})$/.exec(identity);
  const [, instanceId, operationId, target] = match ?? [];
  return instanceId === undefined || operationId === undefined || target === undefined ? undefined : { instanceId, operationId, target };
}

export const keyOf = (secret: Buffer, identity: string): Buffer => createHmac('sha256', secret).update(`disk transfer ${identity}`).digest();

/** Fresh keys for each connection (ECDHE), both sides proved by the shared key; Node's pre-shared keys are those of TLS 1.2. */
export const tlsOptions = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: 'ECDHE-PSK-CHACHA20-POLY1305' } as const;
