// Every EC2 action, called through the dispatcher with each role there is: who lacks the role never reaches the handler, who has it does.
// The requests are made from AWS's model, so that an action added tomorrow is covered without a line here.
import { describe, expect, it } from 'vitest';
import { fail, type AnyAction, type Services } from '../../src/api/ec2/action.ts';
import { allActions } from '../../src/api/ec2/actions/index.ts';
import { createDispatcher, type Answer } from '../../src/api/ec2/dispatch.ts';
import { findOperation, speaksPlainQuery } from '../../src/api/ec2/model.ts';
import type { Principal, Role } from '../../src/auth/principal.ts';
import { grantableRoles } from '../../src/auth/roles.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { requestOf } from '../support/auth-fixture.ts';
import { leastRequest } from '../support/least-request.ts';

const roles: readonly Role[] = [...grantableRoles, 'projectmanager'];

/** A handler behind an authorised request must not be reached by these: no service is there to serve it. */
const services = new Proxy({ clock: systemClock, log: silentLog }, {
  get(target, name) {
    if (name in target) return Reflect.get(target, name) as unknown;
    throw new Error(`${String(name)} was used before authorisation`);
  },
}) as unknown as Services;

const principal = (held: readonly Role[], isSuperuser = false): Principal => ({
  userId: 'u', userName: 'u', accessKeyId: 'k', projectId: 'p', projectName: 'p', isSuperuser, isAdmin: isSuperuser, roles: new Set(held),
});

const reached = 'the handler was reached';
const marked = (entry: AnyAction): AnyAction => ({ ...entry, handle: () => fail('InvalidParameterValue', reached) });

const takesDryRun = (entry: AnyAction): boolean => findOperation(entry.name)?.input?.members.some((member) => member.name === 'DryRun') ?? false;

async function call(entry: AnyAction, who: Principal, more = ''): Promise<Answer> {
  const dispatcher = createDispatcher({ actions: [marked(entry)], services, authenticate: async () => who });
  return dispatcher.dispatch(requestOf({ method: 'POST', target: '/', body: leastRequest(entry) + more }), 'r');
}

const refusalOf = (entry: AnyAction): string => (speaksPlainQuery(findOperation(entry.name)?.service ?? 'ec2') ? 'AccessDenied' : 'UnauthorizedOperation');

/** Combinations that the entry's own list does not allow. */
function wrongPrincipals(entry: AnyAction): Principal[] {
  const allowed = entry.roles;
  if (allowed === 'anyMember') return [];
  const wrong = allowed === 'superuser' ? roles : roles.filter((role) => !allowed.includes(role));
  return [principal([]), ...wrong.map((role) => principal([role])), principal(wrong)];
}

function rightPrincipals(entry: AnyAction): Principal[] {
  const allowed = entry.roles;
  if (allowed === 'superuser') return [principal([], true)];
  return [principal([], true), ...(allowed === 'anyMember' ? [principal([])] : allowed.map((role) => principal([role])))];
}

const byName = allActions.map((entry) => [entry.name, entry] as const);

describe('E9: the action', () => {
  it.each(byName)('%s refuses everybody without its role, before anything else is done', async (_name, entry) => {
    for (const who of wrongPrincipals(entry)) {
      const held = [...who.roles].join(', ') || 'nothing';
      for (const more of takesDryRun(entry) ? ['', '&DryRun=true'] : ['']) {
        const answer = await call(entry, who, more);
        expect(answer.record.code, `held: ${held}${more}`).toBe(refusalOf(entry));
        expect(answer.body).not.toContain(reached);
      }
    }
  });

  it.each(byName)('%s lets those in who have its role, and a dry run no further', async (_name, entry) => {
    for (const who of rightPrincipals(entry)) {
      expect((await call(entry, who)).body, leastRequest(entry)).toContain(reached);
      if (!takesDryRun(entry)) continue;
      const dry = await call(entry, who, '&DryRun=true');
      expect(dry.record.code).toBe('DryRunOperation');
      expect(dry.body).not.toContain(reached);
    }
  });
});

describe('the table of actions', () => {
  /** Nova's own rules, written down apart from the table, for the actions of Nova that are built. */
  const ofNova: Readonly<Record<string, readonly string[]>> = {
    anyMember: [
      'CreateKeyPair', 'DeleteKeyPair', 'DescribeAddresses', 'DescribeAvailabilityZones', 'DescribeImageAttribute', 'DescribeImages', 'DescribeInstances',
      'DescribeKeyPairs', 'DescribeRegions', 'DescribeSecurityGroups', 'DescribeSnapshots',
    ],
    netadmin: [
      'AllocateAddress', 'AssociateAddress', 'AuthorizeSecurityGroupIngress', 'CreateSecurityGroup', 'DeleteSecurityGroup', 'DisassociateAddress',
      'ReleaseAddress', 'RevokeSecurityGroupIngress',
    ],
    'projectmanager,sysadmin': [
      'AttachVolume', 'CreateVolume', 'DeleteVolume', 'DeregisterImage', 'DetachVolume', 'GetConsoleOutput', 'ModifyImageAttribute', 'RebootInstances',
      'RegisterImage', 'RunInstances', 'TerminateInstances',
    ],
  };

  it.each(Object.entries(ofNova))('asks for %s where Nova did', (asked, names) => {
    const found = new Map(allActions.map((entry) => [entry.name as string, String(typeof entry.roles === 'string' ? entry.roles : entry.roles.toSorted())]));
    expect(names.map((name) => [name, found.get(name)])).toEqual(names.map((name) => [name, asked]));
  });

  /** Nova gave key pairs to every member; importing them and tags are newer, and follow. Access keys are everybody's own (spec/api/iam.spec.ts). */
  const changersForAll = [
    'CreateAccessKey', 'CreateKeyPair', 'CreateTags', 'DeleteAccessKey', 'DeleteKeyPair', 'DeleteTags', 'ImportKeyPair', 'UpdateAccessKey',
  ];

  it('lets every member change only what is listed here', () => {
    const open = allActions.filter((entry) => entry.roles === 'anyMember' && !/^(Describe|Get|List)/.test(entry.name));
    expect(open.map((entry) => entry.name as string).toSorted()).toEqual(changersForAll);
  });

  it('names no role list that is empty', () => {
    expect(allActions.filter((entry) => Array.isArray(entry.roles) && entry.roles.length === 0).map((entry) => entry.name)).toEqual([]);
  });
});
