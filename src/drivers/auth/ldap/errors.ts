// What a directory answers, in the words of drivers. Its own texts stay out: they may have values of entries.
import { ResultCodeError } from 'ldapts';
import { DriverError, type DriverErrorKind } from '../../../lib/errors.ts';

/** Result codes of RFC 4511. */
export const resultCode = {
  timeLimitExceeded: 3, sizeLimitExceeded: 4, confidentialityRequired: 13, noSuchAttribute: 16, typeOrValueExists: 20, noSuchObject: 32,
  invalidCredentials: 49, insufficientAccess: 50, busy: 51, unavailable: 52, unwillingToPerform: 53, objectClassViolation: 65, entryAlreadyExists: 68,
} as const;

const kinds: Readonly<Record<number, DriverErrorKind>> = {
  [resultCode.timeLimitExceeded]: 'timeout',
  [resultCode.busy]: 'timeout',
  [resultCode.unavailable]: 'timeout',
  [resultCode.noSuchObject]: 'notFound',
  [resultCode.entryAlreadyExists]: 'busy',
  [resultCode.insufficientAccess]: 'unsupported',
  [resultCode.unwillingToPerform]: 'unsupported',
};

export const hasCode = (error: unknown, code: number): boolean => codeOf(error) === code;

/** Also of a DriverError made of it. */
function codeOf(error: unknown): number | undefined {
  if (isResultCode(error)) return error.code;
  return error instanceof Error && error.cause !== undefined ? codeOf(error.cause) : undefined;
}

const isResultCode = (error: unknown): error is ResultCodeError => error instanceof ResultCodeError;

export function ldapError(what: string, error: unknown): DriverError {
  if (error instanceof DriverError) return error;
  if (!isResultCode(error)) return outage(`${what}: ${connectionText(error)}`, error);
  const kind = kinds[error.code] ?? 'failed';
  return new DriverError(kind, `could not ${what}: the directory answers with code ${error.code}`, { cause: error });
}

/** The directory did not answer. Whoever asks later may be answered, so that it is no bug of ours: callers get `timeout`, which they may repeat. */
export class DirectoryAway extends DriverError {}

export const outage = (what: string, cause?: unknown): DirectoryAway => new DirectoryAway('timeout', `could not ${what}`, { cause });

/** Codes of the system and of TLS say enough, and have no values of entries. */
const connectionText = (error: unknown): string => (error as { code?: unknown }).code?.toString() ?? 'the connection broke, or nothing came in time';
