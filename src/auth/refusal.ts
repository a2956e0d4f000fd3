// Why a request is not believed, before it is put into the words of the service that refuses it: EC2, STS, IAM and S3 have
// other codes for the same thing. The pure verifiers throw a Refusal; authenticate.ts alone makes it an ApiError.
import { ApiError } from '../lib/errors.ts';

export type RefusalKind =
  | 'unsigned' // nothing in the request says who asks
  | 'ambiguous' // signed in two places, or a parameter of the signature given twice
  | 'badScheme' // an Authorization header that is not AWS's, or an unknown algorithm
  | 'badHeader' // the Authorization header cannot be read
  | 'badQuery' // the signature's query parameters cannot be read
  | 'missingParameter' // the detail is the name of the parameter
  | 'badValue' // a parameter of the signature has an impossible value
  | 'noDate'
  | 'unsignedHeaders' // a header that changes the meaning is not among the signed ones
  | 'token' // a session token that was not issued for this key, or with a key that has none
  | 'expiredToken'
  | 'unknownKey'
  | 'mismatch'
  | 'locked' // too many signatures with this key were wrong
  | 'skewed' // outside the clock window
  | 'expired' // past the life that the signer gave it
  | 'notYet'
  | 'badContentHash' // x-amz-content-sha256 has an impossible value
  | 'noContentHash'
  | 'notMember'; // a valid key, and a project that its user may not act in

/** Whose key a request names that was not believed. */
export interface Claimed {
  readonly userId: string;
  readonly userName: string;
  readonly accessKeyId: string;
}

/** Carries no secret and no expected signature: its detail reaches the client. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly kind: RefusalKind;
  /** Undefined: of no key that there is. What was given as the id of one may be anything, a secret too. */
  claimed: Claimed | undefined;

  constructor(kind: RefusalKind, detail = '', claimed?: Claimed) {
    super(detail);
    this.kind = kind;
    this.claimed = claimed;
  }
}

/** A refusal in the words of a service. Whose key was named is for the audit log, not for the client. */
export class RefusedRequest extends ApiError {
  readonly claimed: Claimed | undefined;

  constructor(answer: { readonly code: string; readonly message: string; readonly status: number }, claimed: Claimed | undefined) {
    super(answer.code, answer.message, answer.status);
    this.claimed = claimed;
  }
}

export type Dialect = 'ec2' | 'sts' | 'iam' | 's3';

type Answer = readonly [code: string, status: number, message: string | ((detail: string) => string)];

const detailOr = (fallback: string) => (detail: string) => detail || fallback;

const authFailure: Answer = ['AuthFailure', 401, 'AWS was not able to validate the provided access credentials'];
const incomplete: Answer = ['IncompleteSignature', 400, detailOr('The request signature does not conform to AWS standards.')];
const invalidValue: Answer = ['InvalidParameterValue', 400, detailOr('A parameter of the signature is not valid.')];
const invalidToken: Answer = ['InvalidClientTokenId', 403, 'The security token included in the request is invalid.'];
const mismatch: Answer = [
  'SignatureDoesNotMatch', 403,
  'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.',
];
const missingParameter: Answer = ['MissingParameter', 400, (name) => `The request must contain the parameter ${name}`];

const ec2: Readonly<Record<RefusalKind, Answer>> = {
  unsigned: ['MissingParameter', 400, 'The request must contain the parameter AWSAccessKeyId'],
  ambiguous: ['InvalidParameterCombination', 400, detailOr('Only one way of signing may be used.')],
  badScheme: incomplete,
  badHeader: incomplete,
  badQuery: incomplete,
  missingParameter,
  badValue: invalidValue,
  noDate: incomplete,
  unsignedHeaders: incomplete,
  token: authFailure,
  expiredToken: ['RequestExpired', 400, 'Request has expired.'],
  unknownKey: authFailure,
  mismatch: authFailure,
  locked: ['Blocked', 403, 'Your account is currently blocked. Too many requests with this access key had a wrong signature; try again later.'],
  skewed: ['RequestExpired', 400, detailOr('Request has expired.')],
  expired: ['RequestExpired', 400, detailOr('Request has expired.')],
  notYet: ['RequestExpired', 400, detailOr('Request is not valid yet.')],
  badContentHash: authFailure,
  noContentHash: authFailure,
  notMember: authFailure,
};

const stsSkew: Answer = ['SignatureDoesNotMatch', 403, detailOr('Signature expired.')];

const sts: Readonly<Record<RefusalKind, Answer>> = {
  ...ec2,
  unsigned: ['MissingAuthenticationToken', 403, 'Request is missing Authentication Token'],
  token: invalidToken,
  expiredToken: ['ExpiredToken', 403, 'The security token included in the request is expired'],
  unknownKey: invalidToken,
  mismatch,
  locked: ['AccessDenied', 403, 'Too many requests with this access key had a wrong signature; try again later.'],
  badContentHash: mismatch,
  noContentHash: mismatch,
  skewed: stsSkew,
  expired: stsSkew,
  notYet: ['SignatureDoesNotMatch', 403, detailOr('Signature not yet current.')],
  notMember: ['AccessDenied', 403, 'The user may not act in this project.'],
};

const skewedMessage = 'The difference between the request time and the current time is too large.';
const noDateMessage = 'AWS authentication requires a valid Date or x-amz-date header';

const s3: Readonly<Record<RefusalKind, Answer>> = {
  unsigned: ['AccessDenied', 403, 'Access Denied'],
  ambiguous: ['InvalidArgument', 400, detailOr('Only one auth mechanism allowed')],
  badScheme: ['InvalidArgument', 400, detailOr('Unsupported Authorization Type')],
  badHeader: ['AuthorizationHeaderMalformed', 400, detailOr('The authorization header is malformed.')],
  badQuery: ['AuthorizationQueryParametersError', 400, detailOr('The signature parameters of the query are malformed.')],
  missingParameter: [
    'AuthorizationQueryParametersError', 400,
    (name) => `Query-string authentication needs the parameter ${name}.`,
  ],
  badValue: ['AuthorizationQueryParametersError', 400, detailOr('A parameter of the signature is not valid.')],
  noDate: ['AccessDenied', 403, noDateMessage],
  unsignedHeaders: ['AccessDenied', 403, detailOr('There were headers present in the request which were not signed')],
  token: ['InvalidToken', 400, 'The provided token is malformed or otherwise invalid.'],
  expiredToken: ['ExpiredToken', 400, 'The provided token has expired.'],
  unknownKey: ['InvalidAccessKeyId', 403, 'The AWS Access Key Id you provided does not exist in our records.'],
  mismatch: [
    'SignatureDoesNotMatch', 403,
    'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
  ],
  locked: ['AccessDenied', 403, 'Access Denied'],
  skewed: ['RequestTimeTooSkewed', 403, skewedMessage],
  expired: ['AccessDenied', 403, 'Request has expired'],
  notYet: ['AccessDenied', 403, 'Request is not valid yet'],
  badContentHash: [
    'InvalidArgument', 400,
    detailOr('x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING form, or a valid sha256 value.'),
  ],
  noContentHash: ['InvalidRequest', 400, 'Missing required header for this request: x-amz-content-sha256'],
  notMember: ['AccessDenied', 403, 'Access Denied'],
};

const answers: Readonly<Record<Dialect, Readonly<Record<RefusalKind, Answer>>>> = { ec2, sts, iam: sts, s3 };

/** The refusal as the given service says it. */
export function refusalToApiError(refusal: Refusal, dialect: Dialect): ApiError {
  const [code, status, message] = answers[dialect][refusal.kind];
  return new RefusedRequest({ code, message: typeof message === 'string' ? message : message(refusal.message), status }, refusal.claimed);
}
