// The order of checks, and what each failure looks like, with real signatures left aside.
import { describe, expect, it } from 'vitest';
import { action, type AnyAction, type Services } from '../../src/api/ec2/action.ts';
import { createDispatcher, type Authenticate } from '../../src/api/ec2/dispatch.ts';
import { findOperation, type Shape } from '../../src/api/ec2/model.ts';
import { allActions } from '../../src/api/ec2/actions/index.ts';
import type { Principal, Role } from '../../src/auth/principal.ts';
import { grantableRoles } from '../../src/auth/roles.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { ApiError, DriverError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { TransportError } from '../../src/transport/transport.ts';
import { requestOf } from '../support/auth-fixture.ts';

const principal = (roles: readonly Role[] = [], isSuperuser = false): Principal => ({
  userId: 'AIDA1', userName: 'ann', accessKeyId: 'AKIA1', projectId: '111122223333', projectName: 'ann',
  isSuperuser, isAdmin: isSuperuser, roles: new Set(roles),
});

function dispatcherOf(actions: readonly AnyAction[], options: { authenticate?: Authenticate; clock?: Clock; timeoutMs?: number } = {}) {
  const services = {
    clock: options.clock ?? systemClock, log: silentLog, region: 'nova', zone: 'nova', endpoint: 'http://127.0.0.1:8773',
  } as unknown as Services;
  return createDispatcher({
    actions, services, authenticate: options.authenticate ?? (async () => principal()),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
  });
}

const ask = (dispatcher: ReturnType<typeof dispatcherOf>, body: string) => dispatcher.dispatch(requestOf({ method: 'POST', target: '/', body }), 'request-1');

const reboot = (handle: () => unknown, roles: AnyAction['roles'] = 'anyMember') => [
  action({ name: 'RebootInstances', doc: '', roles, errors: [], handle: handle as never }),
];
const rebootQuery = 'Action=RebootInstances&InstanceId.1=i-1&Version=2016-11-15';

const refused: Authenticate = async (_, dialect) => {
  throw new ApiError(
    dialect === 'sts' ? 'InvalidClientTokenId' : 'AuthFailure', 'AWS was not able to validate the provided access credentials', dialect === 'sts' ? 403 : 401,
  );
};

describe('a request', () => {
  it.each([
    ['without an action', '', 400, 'MissingAction'],
    ['for an action that AWS does not have', 'Action=MakeCoffee', 400, 'InvalidAction'],
    ['for a name of the prototype', 'Action=constructor', 400, 'InvalidAction'],
    ['in a broken encoding', 'Action=%zz', 400, 'MalformedQueryString'],
    ['with a bad signature, for what is not built', 'Action=CreateVpc', 401, 'AuthFailure'],
    ['with a bad signature and no parameters', 'Action=RebootInstances', 401, 'AuthFailure'],
  ])('%s', async (_, body, status, code) => {
    const answer = await ask(dispatcherOf(reboot(() => ({})), { authenticate: refused }), body);
    expect(answer).toMatchObject({ status, record: { code } });
    expect(answer.body).toContain(`<Response><Errors><Error><Code>${code}</Code><Message>`);
    expect(answer.body).toContain('<RequestID>request-1</RequestID>');
  });

  it.each([
    ['for what is not built', 'Action=CreateVpc', 400, 'UnsupportedOperation'],
    ['without a required parameter', 'Action=RebootInstances', 400, 'MissingParameter'],
    ['with an ill-typed one', `${rebootQuery}&DryRun=perhaps`, 400, 'InvalidParameterValue'],
    ['as a rehearsal', `${rebootQuery}&DryRun=true`, 412, 'DryRunOperation'],
  ])('%s', async (_, body, status, code) => {
    const handle = () => expect.unreachable('the handler must not be called');
    expect(await ask(dispatcherOf(reboot(handle)), body)).toMatchObject({ status, record: { code } });
  });

  it('that the role does not allow is refused, also as a rehearsal', async () => {
    const dispatcher = dispatcherOf(reboot(() => ({}), ['sysadmin']));
    for (const body of [rebootQuery, `${rebootQuery}&DryRun=true`]) {
      expect(await ask(dispatcher, body)).toMatchObject({ status: 403, record: { code: 'UnauthorizedOperation' } });
    }
  });

  it('tells the log what was ignored, and never a value', async () => {
    const answer = await ask(dispatcherOf(reboot(() => ({}))), `${rebootQuery}&Password=secret`);
    expect(answer.record).toEqual({ action: 'RebootInstances', userId: 'AIDA1', projectId: '111122223333', ignoredParameters: ['Password'] });
  });
});

describe('what a handler throws', () => {
  it.each([
    ['an error for the client', new ApiError('InvalidInstanceID.NotFound', 'no'), 400, 'InvalidInstanceID.NotFound'],
    ['one with a status of its own', new ApiError('Strange', 'no', 409), 409, 'Strange'],
    ['a full mailbox', new TransportError('mailboxFull', 'full'), 503, 'ServiceUnavailable'],
    ['a late answer', new TransportError('timeout', 'late'), 503, 'Unavailable'],
    [
      'an error for the client from another role', new TransportError('remote', 'x', { name: 'ApiError', code: 'IncorrectInstanceState', message: 'no' }),
      400, 'IncorrectInstanceState',
    ],
    ['a bug of another role', new TransportError('remote', 'x', { name: 'TypeError', message: 'secret inside' }), 500, 'InternalError'],
    ['an absent database', Object.assign(new Error('Failed query'), { cause: Object.assign(new Error('no'), { code: 'ECONNREFUSED' }) }), 503, 'Unavailable'],
    ['a busy driver', new DriverError('busy', 'secret inside'), 503, 'Unavailable'],
    ['a bug', new TypeError('secret inside'), 500, 'InternalError'],
    ['something odd', 'secret inside', 500, 'InternalError'],
  ])('%s', async (_, thrown, status, code) => {
    const answer = await ask(dispatcherOf(reboot(() => { throw thrown; })), rebootQuery);
    expect(answer).toMatchObject({ status, record: { code } });
    expect(answer.body).not.toContain('secret inside');
  });

  it('a handler that never ends is answered in time', async () => {
    const answer = await ask(dispatcherOf(reboot(() => new Promise(() => undefined)), { timeoutMs: 20 }), rebootQuery);
    expect(answer).toMatchObject({ status: 503, record: { code: 'Unavailable' } });
  });

  it('an answer that does not fit the model is an internal error', async () => {
    const broken = [action({ name: 'DescribeRegions', doc: '', roles: 'anyMember', errors: [], handle: (() => ({ Regions: 1 })) as never })];
    expect(await ask(dispatcherOf(broken), 'Action=DescribeRegions')).toMatchObject({ status: 500 });
  });
});

describe('STS', () => {
  it('answers and refuses in its own form', async () => {
    const good = await ask(dispatcherOf(allActions), 'Action=GetCallerIdentity&Version=2011-06-15');
    expect(good.body).toContain('<Arn>arn:aws:iam::111122223333:user/ann</Arn>');
    const bad = await ask(dispatcherOf(allActions, { authenticate: refused }), 'Action=GetCallerIdentity&Version=2011-06-15');
    expect(bad.status).toBe(403);
    expect(bad.body).toContain('<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code>');
    const unknown = await ask(dispatcherOf(allActions), 'Action=ListWishes&Version=2011-06-15');
    expect(unknown.body).toContain('<ErrorResponse');
  });
});

describe('the table of actions', () => {
  it('has each action once', () => {
    expect(() => dispatcherOf([...reboot(() => ({})), ...reboot(() => ({}))])).toThrow('declared twice');
  });

  it.each(allActions.map((entry) => [entry.name, entry] as const))('%s is refused to every role that it does not name', async (_, entry) => {
    const probe: AnyAction = { ...entry, handle: () => { throw new ApiError('InvalidRequest', 'reached', 418); } };
    const isAllowed = async (who: Principal) => {
      const dispatcher = dispatcherOf([probe], { authenticate: async () => who });
      // Whatever the parameters lack, it must not be the role that is wrong.
      const answer = await ask(dispatcher, `Action=${entry.name}&${filled(entry.name)}`);
      expect([403, 418]).toContain(answer.status);
      return answer.status === 418;
    };
    for (const role of [...grantableRoles, 'projectmanager'] as const) {
      const expected = entry.roles === 'anyMember' || (entry.roles !== 'superuser' && entry.roles.includes(role));
      expect(await isAllowed(principal([role])), role).toBe(expected);
    }
    expect(await isAllowed(principal([], true))).toBe(true);
    expect(await isAllowed(principal())).toBe(entry.roles === 'anyMember');
  });
});

/** All required members of an action's input. */
function filled(name: string): string {
  const required: Readonly<Record<string, string>> = requiredQueries();
  return required[name] ?? '';
}

function requiredQueries(): Record<string, string> {
  const queries: Record<string, string> = {};
  for (const { name } of allActions) {
    const structure = findOperation(name)?.input;
    queries[name] = (structure?.members ?? []).filter((member) => member.required).map((member) => sample(member.shape, member.queryName)).join('&');
  }
  return queries;
}

function sample(shape: Shape, path: string): string {
  if (shape === 'integer' || shape === 'decimal') return `${path}=1`;
  if (shape === 'boolean') return `${path}=true`;
  if (shape === 'timestamp') return `${path}=2026-01-01T00:00:00Z`;
  if (typeof shape === 'string') return `${path}=AAAA`;
  if (shape.kind === 'list') return sample(shape.element, `${path}.1`);
  return shape.members.slice(0, 1).map((member) => sample(member.shape, `${path}.${member.queryName}`)).join('&');
}
