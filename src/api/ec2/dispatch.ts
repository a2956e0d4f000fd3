// One request from its raw bytes to its XML answer. The order is AWS's: parse; is the action known (MissingAction, InvalidAction: before
// the signature, as AWS's front ends do, since the list of actions is public); authenticate; is it built (UnsupportedOperation);
// typed input; authorise; DryRun; handle. Whatever goes wrong is answered in the XML of the service asked.
import { isPermitted } from '../../auth/roles.ts';
import type { Principal } from '../../auth/principal.ts';
import { RefusedRequest, type Claimed } from '../../auth/refusal.ts';
import type { SignedRequest } from '../../auth/request.ts';
import type { AuditTrail } from '../../db/audit.ts';
import { ApiError } from '../../lib/errors.ts';
import { aboutAnswer, aboutRequest } from '../audit/about.ts';
import { auditRecord, isRecorded } from '../audit/record.ts';
import { fail, type AnyAction, type Call, type Services } from './action.ts';
import { faultOf } from './fault.ts';
import { findOperation, serviceOf, speaksPlainQuery, type Operation, type ServiceName } from './model.ts';
import { parseParameters, readInput, type Parameters } from './wire.ts';
import { safeVersion, writeError, writeResponse } from './xml.ts';

export type Authenticate = (request: SignedRequest, dialect: ServiceName) => Promise<Principal>;

type FindOperation = (name: string) => Operation | undefined;

export interface DispatcherOptions {
  readonly actions: readonly AnyAction[];
  /** The model that the actions are of. Default: AWS's. */
  readonly find?: FindOperation;
  readonly services: Services;
  /** Throws ApiError when the signature does not hold. */
  readonly authenticate: Authenticate;
  /** To which every call that changes something, or was to, is told. Absent: nowhere. */
  readonly audit?: { readonly trail: AuditTrail; readonly service: 'admin' | undefined };
  /** A handler that takes longer is answered Unavailable. Default 60 s. */
  readonly timeoutMs?: number;
}

/** What the access log and the metrics learn of a request: no parameter values. */
export interface RequestRecord {
  action?: string;
  code?: string;
  userId?: string;
  projectId?: string;
  dryRun?: boolean;
  ignoredParameters?: readonly string[];
}

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly record: Readonly<RequestRecord>;
}

export interface Dispatcher {
  readonly actions: readonly AnyAction[];
  /** Never rejects. `source`: the address that the request came from. */
  dispatch(request: SignedRequest, requestId: string, source?: string): Promise<Answer>;
  /** The answer to a failure outside of dispatching: an unknown path, a body too large. */
  refuse(error: unknown, requestId: string): Answer;
}

const timeoutMsDefault = 60_000;

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const find = options.find ?? findOperation;
  const table = actionTable(options.actions, find);
  const errorAnswer = (error: unknown, context: Context): Answer => {
    const { fault, report } = faultOf(error);
    if (report !== undefined) options.services.log.error({ requestId: context.requestId, action: context.record.action, error: report }, 'request failed');
    const { code, status } = dialectOf(fault, context.service);
    context.record.code = code;
    const body = writeError(context.service, { code, message: fault.message, requestId: context.requestId, isSender: status < 500 });
    return { status, body, record: context.record };
  };
  return {
    actions: options.actions,
    refuse: (error, requestId) => errorAnswer(error, { requestId, service: 'ec2', record: {} }),
    async dispatch(request, requestId, source = '') {
      const context: Context = { requestId, service: 'ec2', record: {} };
      let answer: Answer;
      try {
        const body = await perform(request, context, { table, find }, options);
        answer = { status: 200, body, record: context.record };
      } catch (error) {
        if (error instanceof RefusedRequest) context.claimed = error.claimed;
        answer = errorAnswer(error, context);
      }
      await tellAudit(answer, context, source, options);
      return answer;
    },
  };
}

/** What is known of a request so far: an error half-way is told in the right form. */
interface Context {
  readonly requestId: string;
  service: ServiceName;
  readonly record: RequestRecord;
  principal?: Principal;
  claimed?: Claimed | undefined;
  about?: readonly string[];
}

/** Before the client has its answer: who was told that something is done finds it in the audit log. */
async function tellAudit(answer: Answer, context: Context, source: string, { audit, services }: DispatcherOptions): Promise<void> {
  const { action, code } = context.record;
  if (audit === undefined || action === undefined || !isRecorded(action)) return;
  const { requestId, principal, claimed, about = [] } = context;
  await audit.trail.record(auditRecord({
    at: services.clock.date(), service: audit.service ?? context.service, action, status: answer.status, code, requestId, principal, claimed, source, about,
    kind: 'control',
  }));
}

function actionTable(actions: readonly AnyAction[], find: FindOperation): ReadonlyMap<string, AnyAction> {
  const table = new Map<string, AnyAction>();
  for (const entry of actions) {
    if (table.has(entry.name)) throw new Error(`the action ${entry.name} is declared twice`);
    if (find(entry.name) === undefined) throw new Error(`the model has no action ${entry.name}`);
    table.set(entry.name, entry);
  }
  return table;
}

/** What may be asked for, and what of it is built. */
interface Known {
  readonly table: ReadonlyMap<string, AnyAction>;
  readonly find: FindOperation;
}

async function perform(request: SignedRequest, context: Context, { table, find }: Known, options: DispatcherOptions): Promise<string> {
  const parameters = parseParameters(request.rawQuery, request.body?.toString('utf8') ?? '');
  const operation = operationOf(parameters, context, find);
  const principal = await options.authenticate(request, operation.service);
  context.principal = principal;
  context.about = aboutRequest(parameters);
  context.record.userId = principal.userId;
  context.record.projectId = principal.projectId;
  const entry = table.get(operation.name);
  if (entry === undefined) throw new ApiError('UnsupportedOperation', `The action ${operation.name} is not supported by this cloud.`);
  const { input, ignored } = readInput(operation, parameters);
  if (ignored.length > 0) context.record.ignoredParameters = ignored.slice(0, 20);
  if (!isPermitted(principal, entry.roles)) throw new ApiError('UnauthorizedOperation', 'You are not authorized to perform this operation.');
  if (input['DryRun'] === true) {
    context.record.dryRun = true;
    throw new ApiError('DryRunOperation', 'Request would have succeeded, but DryRun flag is set.');
  }
  const version = safeVersion(parameters.get('Version'));
  const call: Call = { ...options.services, requestId: context.requestId, principal, version, fail };
  const output = await withDeadline(async () => entry.handle(call, input), options);
  context.about = aboutAnswer(context.about, output);
  return writeResponse(operation, output, { requestId: context.requestId, version });
}

function operationOf(parameters: Parameters, context: Context, find: FindOperation): Operation {
  context.service = serviceOf(parameters.get('Version'));
  const name = parameters.get('Action') ?? '';
  if (name === '') throw new ApiError('MissingAction', 'The request must contain the parameter Action');
  const operation = find(name);
  if (operation === undefined) throw new ApiError('InvalidAction', `The action ${name.slice(0, 80)} is not valid for this web service.`);
  context.service = operation.service;
  context.record.action = operation.name;
  return operation;
}

/** The handler goes on behind an answered deadline: what it does is idempotent, and its own waits end. */
function withDeadline<T>(work: () => Promise<T>, options: DispatcherOptions): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new ApiError('Unavailable', 'The request took too long. Please try again.', 503));
    const timer = options.services.clock.after(options.timeoutMs ?? timeoutMsDefault, late, { unref: true });
    work().then(resolve, reject).finally(() => timer.cancel());
  });
}

/** STS and IAM have words of their own for what can go wrong with any action. */
const plainQueryCodes: Readonly<Record<string, string>> = {
  UnauthorizedOperation: 'AccessDenied', MissingParameter: 'ValidationError', InvalidParameterValue: 'ValidationError', InternalError: 'InternalFailure',
  Unavailable: 'ServiceUnavailable',
};

function dialectOf(fault: { readonly code: string; readonly status: number }, service: ServiceName): { code: string; status: number } {
  const code = speaksPlainQuery(service) && Object.hasOwn(plainQueryCodes, fault.code) ? (plainQueryCodes[fault.code] ?? fault.code) : fault.code;
  return { code, status: fault.status };
}
