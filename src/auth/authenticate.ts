// From a request to who asks: finds the signature, checks its time, the key, the signature itself and the project, in this order, and
// puts every refusal into the words of the service asked. Both entrances live here because all of the checks do.
import { createHash } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { emptySha256 } from './canonical-v4.ts';
import type { Credential } from './credentials.ts';
import { checkContentHash, payloadOf, type Payload } from './payload.ts';
import { parseParameters, type Parameter } from './percent-encoding.ts';
import type { Principal } from './principal.ts';
import { Refusal, refusalToApiError, type Claimed, type Dialect } from './refusal.ts';
import { headerValue, securityTokenHeader, type SignedRequest } from './request.ts';
import type { GivenToken } from './sessions.ts';
import { checkTimeS3V2, readHeaderS3V2, readQueryS3V2, verifyS3V2, type ClaimS3V2 } from './signature-s3-v2.ts';
import { checkTimeV2, readV2, verifyV2 } from './signature-v2.ts';
import { checkCoverageS3V4, checkTimeV4, readHeaderV4, readQueryV4, verifyV4, type ClaimV4 } from './signature-v4.ts';
import { scopeText, type SigningKeys } from './signing-keys.ts';

export type { SignedRequest } from './request.ts';

/** What verification needs of the auth manager. */
export interface Authority {
  readonly signingKeys: SigningKeys;
  /** The enabled key of an enabled user, or a session's; `accessKeyId` may have a `:project`. Undefined: there is none. */
  findCredential(accessKeyId: string, session?: GivenToken): Promise<Credential | undefined>;
  /** Too many signatures with the key were wrong of late. */
  isLocked(credential: Credential): Promise<boolean>;
  noteWrongSignature(credential: Credential): Promise<void>;
  /** Undefined: the user may not act in the project, or there is no such project. */
  principalOf(credential: Credential): Promise<Principal | undefined>;
}

export interface AuthenticateDeps {
  readonly auth: Authority;
  readonly clock: Clock;
}

export interface S3Authentication {
  /** Undefined: the request is not signed. */
  readonly principal: Principal | undefined;
  readonly payload: Payload;
}

/** Who makes a request of the query API. Throws an ApiError in the service's words; the service of a V4 scope decides when none is given. */
export async function authenticateEc2(request: SignedRequest, deps: AuthenticateDeps, dialect?: Exclude<Dialect, 's3'>): Promise<Principal> {
  let spoken: Dialect = dialect ?? 'ec2';
  return inWordsOf(() => spoken, async () => {
    const v4 = readHeaderV4(request) ?? readQueryV4(request);
    if (v4 !== undefined) {
      const { service } = v4.scope;
      spoken = dialect ?? (service === 'sts' || service === 'iam' ? service : 'ec2');
      return authenticateEc2V4(request, v4, deps);
    }
    if (request.headers.authorization !== undefined) throw new Refusal('badScheme', 'The Authorization header is not of signature version 4.');
    const v2 = readV2(request);
    if (v2 === undefined) throw new Refusal('unsigned');
    checkTimeV2(v2, deps.clock.now());
    const credential = await findCredential(deps, v2.accessKeyId, tokenOf(request, v2.parameters));
    await proven(deps, credential, () => verifyV2(request, v2, credential.secret));
    return findPrincipal(deps, credential);
  });
}

/** Who makes a request of S3, and how its body is vouched for. Throws an ApiError in S3's words. */
export async function authenticateS3(request: SignedRequest, deps: AuthenticateDeps): Promise<S3Authentication> {
  return inWordsOf(() => 's3', async () => {
    const signedInQuery = /(?:^|&)(?:X-Amz-Algorithm|X-Amz-Signature|Signature|AWSAccessKeyId)=/.test(request.rawQuery);
    if (request.headers.authorization === undefined && !signedInQuery) {
      if (tokenOf(request) !== undefined) throw new Refusal('token');
      return { principal: undefined, payload: payloadOf(request, unsignedContentHash(request), undefined) };
    }
    if (request.headers.authorization !== undefined && signedInQuery) {
      throw new Refusal('ambiguous', 'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, '
        + 'Signature query string parameter or the Authorization header should be specified');
    }
    const v4 = readHeaderV4(request) ?? readQueryV4(request);
    if (v4 !== undefined) return authenticateS3V4(request, v4, deps);
    const v2 = readHeaderS3V2(request) ?? readQueryS3V2(request);
    if (v2 === undefined) throw new Refusal('badScheme');
    return authenticateS3V2(request, v2, deps);
  });
}

/** The real body is what counts: a digest that the client claims in a header is not looked at. */
async function authenticateEc2V4(request: SignedRequest, claim: ClaimV4, deps: AuthenticateDeps): Promise<Principal> {
  checkTimeV4(claim, deps.clock.now());
  const credential = await findCredential(deps, claim.accessKeyId, tokenOf(request));
  const payloadHash = request.body === undefined ? (request.bodySha256 ?? emptySha256) : createHash('sha256').update(request.body).digest('hex');
  await proven(deps, credential, () => verifyV4({ request, claim, payloadHash, paths: 'twice', ...credential, signingKeys: deps.auth.signingKeys }));
  return findPrincipal(deps, credential);
}

async function authenticateS3V4(request: SignedRequest, claim: ClaimV4, deps: AuthenticateDeps): Promise<S3Authentication> {
  const payloadHash = claim.place === 'header' ? headerContentHash(request) : presignedContentHash(request);
  checkCoverageS3V4(request, claim);
  checkTimeV4(claim, deps.clock.now());
  const credential = await findCredential(deps, claim.accessKeyId, tokenOf(request));
  const { signingKeys } = deps.auth;
  const { accessKeyId, secret } = credential;
  const key = await proven(deps, credential, () => verifyV4({ request, claim, payloadHash, paths: 'once', accessKeyId, secret, signingKeys }));
  const signing = { key, timestamp: claim.timestamp, scope: scopeText(claim.scope), seed: claim.signature };
  const payload = payloadOf(request, payloadHash, claim.place === 'header' ? signing : undefined);
  return { principal: await findPrincipal(deps, credential), payload };
}

async function authenticateS3V2(request: SignedRequest, claim: ClaimS3V2, deps: AuthenticateDeps): Promise<S3Authentication> {
  checkTimeS3V2(claim, deps.clock.now());
  const credential = await findCredential(deps, claim.accessKeyId, tokenOf(request));
  await proven(deps, credential, () => verifyS3V2(request, claim, credential.secret));
  const payload = payloadOf(request, unsignedContentHash(request), undefined);
  return { principal: await findPrincipal(deps, credential), payload };
}

async function findCredential(deps: AuthenticateDeps, accessKeyId: string, token: string | undefined): Promise<Credential> {
  const session = token === undefined ? undefined : { token, now: deps.clock.now() };
  const credential = await deps.auth.findCredential(accessKeyId, session);
  if (credential === undefined) throw new Refusal('unknownKey');
  return credential;
}

/** Counts a signature that is wrong, and looks at none of a key that had too many: one that is right says nothing then. */
export async function proven<T>(deps: Pick<AuthenticateDeps, 'auth'>, credential: Credential, verify: () => T): Promise<T> {
  if (await deps.auth.isLocked(credential)) throw new Refusal('locked', '', claimedBy(credential));
  try {
    return verify();
  } catch (error) {
    if (error instanceof Refusal) error.claimed = claimedBy(credential);
    if (error instanceof Refusal && error.kind === 'mismatch') await deps.auth.noteWrongSignature(credential);
    throw error;
  }
}

async function findPrincipal(deps: AuthenticateDeps, credential: Credential): Promise<Principal> {
  const principal = await deps.auth.principalOf(credential);
  if (principal === undefined) throw new Refusal('notMember', '', claimedBy(credential));
  return principal;
}

export const claimedBy = ({ user, accessKeyId }: Credential): Claimed => ({ userId: user.id, userName: user.name, accessKeyId });

function headerContentHash(request: SignedRequest): string {
  const text = headerValue(request, 'x-amz-content-sha256');
  if (text === undefined) throw new Refusal('noContentHash');
  checkContentHash(text);
  return text;
}

/** A presigned request signs no body unless it says so; a header that says so is itself signed, which checkCoverageS3V4 sees to. */
function presignedContentHash(request: SignedRequest): string {
  const inQuery = parseParameters(request.rawQuery).find(({ name }) => name === 'X-Amz-Content-Sha256')?.value;
  const text = inQuery ?? headerValue(request, 'x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD';
  checkContentHash(text);
  return text;
}

/** Where the signature does not cover the body, a digest that was sent is still checked. */
function unsignedContentHash(request: SignedRequest): string {
  const text = headerValue(request, 'x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD';
  checkContentHash(text);
  return text;
}

/** Where clients of the four schemes put the token of a session: a header, or one of these parameters. It proves itself, signed or not. */
const tokenParameters: ReadonlySet<string> = new Set(['X-Amz-Security-Token', 'SecurityToken', securityTokenHeader]);

/** The session token. `parameters`: of the query and the form, where the form may have it. */
function tokenOf(request: SignedRequest, parameters: readonly Parameter[] = parseParameters(request.rawQuery)): string | undefined {
  const given = parameters.filter(({ name }) => tokenParameters.has(name)).map(({ value }) => value);
  const [token, other] = new Set([...given, headerValue(request, securityTokenHeader) ?? ''].filter((text) => text !== ''));
  if (other !== undefined) throw new Refusal('ambiguous', 'Two session tokens are given.');
  return token;
}

async function inWordsOf<T>(dialect: () => Dialect, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof Refusal ? refusalToApiError(error, dialect()) : error;
  }
}
