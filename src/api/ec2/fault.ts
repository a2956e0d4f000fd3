// Anything thrown, as the client may see it: errors meant for him unchanged, a full mailbox or an absent database as "try again", and
// every bug as InternalError with nothing of its inside. What is not the client's fault comes with a report for the log.
import { isDatabaseAway } from '../../db/away.ts';
import { TransportError } from '../../transport/transport.ts';
import { ApiError, DriverError, messageOf } from '../../lib/errors.ts';
import { errorStatus, overloaded, statusOf } from './errors.ts';

export interface Fault {
  readonly code: string;
  readonly status: number;
  readonly message: string;
}

/** What the log keeps of an unexpected error. */
export interface FaultReport {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
}

export interface ClassifiedFault {
  readonly fault: Fault;
  readonly report: FaultReport | undefined;
}

export function faultOf(error: unknown): ClassifiedFault {
  if (error instanceof ApiError) {
    return { fault: { code: error.code, status: error.status ?? statusOf(error.code), message: error.message }, report: undefined };
  }
  if (error instanceof TransportError) return transportFault(error);
  if (isDatabaseAway(error)) return { fault: unavailable, report: reportOf(error) };
  if (error instanceof DriverError && (error.kind === 'busy' || error.kind === 'timeout')) return { fault: unavailable, report: reportOf(error) };
  return { fault: internal, report: reportOf(error) };
}

const unavailable: Fault = { code: 'Unavailable', status: 503, message: 'The service is unavailable. Please try again.' };
const internal: Fault = { code: 'InternalError', status: 500, message: 'An internal error has occurred. The log of the cloud has it under the request id.' };

function transportFault(error: TransportError): ClassifiedFault {
  if (error.kind === 'mailboxFull') return { fault: { ...overloaded, status: statusOf(overloaded.code) }, report: undefined };
  const { remote } = error;
  if (remote?.name === 'ApiError' && remote.code !== undefined && Object.hasOwn(errorStatus, remote.code)) {
    return { fault: { code: remote.code, status: statusOf(remote.code), message: remote.message }, report: undefined };
  }
  const isPassing = error.kind === 'unavailable' || error.kind === 'timeout' || error.kind === 'expired' || error.kind === 'closed';
  return { fault: isPassing ? unavailable : internal, report: reportOf(error) };
}

/** The message of a failed query has its parameters, secrets among them: its cause is what the log needs. */
function reportOf(error: unknown): FaultReport {
  const source = error instanceof Error && 'query' in error && 'params' in error ? (error.cause ?? new Error('a query failed')) : error;
  if (!(source instanceof Error)) return { name: 'Error', message: messageOf(source), stack: undefined };
  return { name: source.name, message: source.message, stack: source.stack };
}
