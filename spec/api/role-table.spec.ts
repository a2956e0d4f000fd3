// Nova's role table over HTTP: users who were given one role each, in every way that roles are given, make every action's request with signatures of their
// own. Who may is let through to the action, which is a mark here; everybody else is refused before it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fail, type AnyAction } from '../../src/api/ec2/action.ts';
import { allActions } from '../../src/api/ec2/actions/index.ts';
import { findOperation, speaksPlainQuery } from '../../src/api/ec2/model.ts';
import { globalOnlyRoles, grantableRoles, superuserRoles } from '../../src/auth/roles.ts';
import type { Role } from '../../src/auth/principal.ts';
import { createEc2World, type Ec2World } from '../support/ec2-world.ts';
import { leastRequest } from '../support/least-request.ts';
import { createPlainEc2, type PlainEc2 } from '../support/plain-ec2.ts';

const reached = 'the action was reached';
const marked = allActions.map((entry): AnyAction => ({ ...entry, handle: () => fail('InvalidParameterValue', reached) }));

interface Caller {
  readonly what: string;
  /** What counts for them in the project `shop`. */
  readonly role: Role | undefined;
  readonly isSuperuser: boolean;
  readonly client: PlainEc2;
}

let world: Ec2World;
let url: string;
const callers: Caller[] = [];

async function caller(what: string, role: Role | undefined, give: (user: string) => Promise<void>): Promise<void> {
  const user = `u${callers.length}`;
  const { auth } = world;
  await auth.createUser({ name: user });
  await auth.addMember('shop', user);
  await give(user);
  const key = await auth.createAccessKey({ user, project: 'shop' });
  const isSuperuser = role !== undefined && superuserRoles.has(role);
  callers.push({ what, role, isSuperuser, client: createPlainEc2({ url, region: 'nova', ...key }) });
}

beforeAll(async () => {
  world = await createEc2World({ actions: marked });
  url = await world.listen();
  const { auth } = world;
  await auth.createProject({ name: 'shop', manager: 'root' });
  await caller('a member without a role', undefined, async () => undefined);
  await caller('the manager of the project', 'projectmanager', (user) => auth.modifyProject('shop', { manager: user }));
  for (const role of grantableRoles) {
    const isGlobalOnly = globalOnlyRoles.has(role);
    await caller(`${role} globally${isGlobalOnly ? '' : ' and in the project'}`, role, async (user) => {
      await auth.addRole(user, role);
      if (!isGlobalOnly) await auth.addRole(user, role, 'shop');
    });
    if (isGlobalOnly) continue;
    // Either alone is nothing.
    await caller(`${role} only globally`, undefined, (user) => auth.addRole(user, role));
    await caller(`${role} only in the project`, undefined, (user) => auth.addRole(user, role, 'shop'));
  }
});
afterAll(() => world.close());

const mayCall = ({ role, isSuperuser }: Caller, { roles }: AnyAction): boolean =>
  isSuperuser || roles === 'anyMember' || (roles !== 'superuser' && role !== undefined && roles.includes(role));

async function ask({ client }: Caller, entry: AnyAction): Promise<'reached' | string> {
  const { Action: _action, ...parameters } = Object.fromEntries(new URLSearchParams(leastRequest(entry)));
  const answer = await client.call(entry.name, parameters);
  return answer.text.includes(reached) ? 'reached' : `${answer.status} ${answer.code}`;
}

describe('E9: over HTTP', () => {
  it.each(allActions.map((entry) => [entry.name, entry] as const))('%s is for those of the table alone', async (name, entry) => {
    const isPlain = speaksPlainQuery(findOperation(name)?.service ?? 'ec2');
    const refused = isPlain ? '403 AccessDenied' : '403 UnauthorizedOperation';
    const answers = await Promise.all(callers.map(async (one) => [one.what, await ask(one, entry)] as const));
    expect(answers).toEqual(callers.map((one) => [one.what, mayCall(one, entry) ? 'reached' : refused]));
  }, 90_000);

  it.each(['toString', '__proto__', 'handle', 'constructor', 'runInstances', 'RunInstances ', 'describe_instances', '_gen_key'])(
    '%s is no action, and reaches nothing of the program', async (name) => {
      for (const one of callers.filter(({ isSuperuser }) => isSuperuser)) {
        const answer = await one.client.call(name);
        expect([answer.status, answer.code]).toEqual([400, 'InvalidAction']);
      }
    },
  );

  it('there are callers of every kind', () => {
    expect(callers).toHaveLength(2 + 2 + 3 * 3);
    expect(callers.filter(({ isSuperuser }) => isSuperuser).map(({ role }) => role)).toEqual(['cloudadmin']);
  });
});
