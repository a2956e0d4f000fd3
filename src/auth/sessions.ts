// Temporary keys, as STS gives them out. What a session stands for, its secret too, travels sealed in its token: nothing is kept, so any
// process of the cloud knows every session, none has to be swept, and one ends by its time, or with the key that it was asked for by.
import { z } from 'zod';
import { SetupError } from '../lib/errors.ts';
import { newAccessKeyId, newSecretKey } from '../lib/ids.ts';
import type { Sealer } from '../lib/sealed.ts';
import { splitAccessKeyId, type Credential, type NewAccessKey } from './credentials.ts';
import { Refusal } from './refusal.ts';

export interface NewSession extends NewAccessKey {
  readonly sessionToken: string;
  readonly expiresAt: Date;
}

export interface SessionRequest {
  /** The lasting key that asks. */
  readonly accessKeyId: string;
  /** The only project that the session may act in. */
  readonly projectId: string;
  readonly durationMs: number;
  readonly now: number;
}

/** How a request says that its key is a session's. */
export interface GivenToken {
  readonly token: string;
  readonly now: number;
}

const contents = z.strictObject({ secret: z.string(), key: z.string(), project: z.string(), expires: z.number() });

/** A token has some 300 characters; what is much longer is not worth the work. */
const tokenLengthMax = 2_000;

const contextOf = (accessKeyId: string): string => `session ${accessKeyId}`;

export function issueSession(sealer: Sealer, request: SessionRequest): NewSession {
  const accessKeyId = newAccessKeyId().replace(/^AKIA/, 'ASIA');
  const secretAccessKey = newSecretKey();
  // Whole seconds, as STS tells them.
  const expires = Math.floor((request.now + request.durationMs) / 1_000) * 1_000;
  const text = JSON.stringify({ secret: secretAccessKey, key: request.accessKeyId, project: request.projectId, expires });
  return { accessKeyId, secretAccessKey, sessionToken: sealer.seal(text, contextOf(accessKeyId)), expiresAt: new Date(expires) };
}

/** The credential of a session. Refuses a token that is not this key's, or whose time is over; undefined: the key behind it is gone or disabled. */
export async function findSession(
  accessKeyIdWithProject: string, { token, now }: GivenToken, from: { readonly sealer: Sealer; find(accessKeyId: string): Promise<Credential | undefined> },
): Promise<Credential | undefined> {
  const named = splitAccessKeyId(accessKeyIdWithProject);
  if (named === undefined) return undefined;
  const { secret, key, project, expires } = openToken(from.sealer, token, named.accessKeyId);
  if (expires <= now) throw new Refusal('expiredToken');
  const parent = await from.find(key);
  if (parent === undefined) return undefined;
  return { ...parent, accessKeyId: named.accessKeyId, secret, requestedProject: named.project, keyProjectId: project, isTemporary: true };
}

function openToken(sealer: Sealer, token: string, accessKeyId: string): z.infer<typeof contents> {
  if (token.length > tokenLengthMax) throw new Refusal('token');
  try {
    return contents.parse(JSON.parse(sealer.open(token, contextOf(accessKeyId))));
  } catch (error) {
    // Whoever signs chooses the text: that it is not ours says nothing of our key.
    if (error instanceof SetupError) throw new Refusal('token');
    throw error;
  }
}
