// Nova's Admin API: every one of its actions, for superusers alone, and as Nova's clients call it: boto 2's generic query, signed at its path.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adminActions } from '../../src/api/admin/index.ts';
import { adminActionNames, findAdminOperation } from '../../src/api/admin/model.ts';
import { createDispatcher, type Answer } from '../../src/api/ec2/dispatch.ts';
import { requestOf } from '../support/auth-fixture.ts';
import type { Principal } from '../../src/auth/principal.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createEc2World, projectQuotas, type Ec2World } from '../support/ec2-world.ts';

const run = promisify(execFile);
let world: Ec2World;
let root: Principal;
const started: string[] = [];

beforeAll(async () => {
  world = await createEc2World();
  root = await world.auth.principalFor('root', 'ann');
});
afterAll(() => world.close());

function ask(query: string, as: Principal = root): Promise<Answer> {
  const dispatcher = createDispatcher({
    actions: adminActions, find: findAdminOperation, authenticate: async () => as,
    services: {
      db: world.db, auth: world.auth, transport: world.transport, relay: { kick: () => undefined, accepts: () => true }, directory: world.directory,
      operator: { startVpn: async (project) => `vpn-${started.push(project)}`, userCredentials: async (...whose) => Buffer.from(whose.join(' in ')) },
      clock: systemClock, log: silentLog, region: 'nova', zone: 'nova', dnsDomain: 'x', endpoint: 'http://127.0.0.1:8773', instancesPerProjectMax: 20,
      addressesPerProjectMax: 10, ...projectQuotas,
    },
  });
  return dispatcher.dispatch(requestOf({ method: 'POST', target: '/services/Admin', body: `Version=nova&Action=${query}` }), 'request-1');
}

const texts = (xml: string, tag: string) => [...xml.matchAll(new RegExp(`<${tag}>([^<]*)</${tag}>`, 'g'))].map((match) => match[1] ?? '');
const answer = async (query: string, as?: Principal) => {
  const { status, record } = await ask(query, as);
  return status === 200 ? 'ok' : `${status} ${record.code}`;
};

describe('E29: the Admin API', () => {
  it('has Nova\'s actions and no others, and refuses each to everybody who is no superuser', async () => {
    expect(adminActionNames).toHaveLength(20);
    expect(adminActions.map(({ name }) => name).toSorted()).toEqual(adminActionNames.toSorted());
    const manager = world.ann;
    for (const name of adminActionNames) {
      const query = `${name}&Name=ann&User=ann&Project=ann&Role=netadmin&ManagerUser=ann`;
      expect(await answer(query, manager), name).toBe('403 UnauthorizedOperation');
      expect(await answer(query, { ...manager, isAdmin: true, roles: new Set(['itsec', 'sysadmin', 'netadmin', 'developer', 'projectmanager']) }), name)
        .toBe('403 UnauthorizedOperation');
      expect(await answer(query, { ...root, isTemporary: true }), name).toBe('403 UnauthorizedOperation');
    }
    expect(await answer('RunInstances')).toBe('400 InvalidAction');
    expect(await answer('toString')).toBe('400 InvalidAction');
  });

  it('users: registered with a key that works, described with it, deregistered', async () => {
    const made = await ask('RegisterUser&Name=carl');
    const [accessKey = '', secret = ''] = [texts(made.body, 'accesskey')[0], texts(made.body, 'secretkey')[0]];
    expect((await world.auth.findCredential(accessKey))?.secret).toBe(secret);
    const described = await ask('DescribeUser&Name=carl');
    expect(['username', 'accesskey', 'secretkey'].map((tag) => texts(described.body, tag))).toEqual([['carl'], [accessKey], [secret]]);
    expect(described.body).toContain('xmlns="http://ec2.amazonaws.com/doc/nova/"');
    const all = await ask('DescribeUsers');
    expect(texts(all.body, 'username')).toEqual(['ann', 'bob', 'carl', 'root']);
    expect(all.body).not.toContain('secretkey');
    expect(await answer('RegisterUser&Name=carl')).toBe('409 EntityAlreadyExists');
    expect(await answer('DeregisterUser&Name=ann')).toBe('409 DeleteConflict');
    expect((await ask('DeregisterUser&Name=carl')).body).toContain('<return>true</return>');
    expect(await answer('DescribeUser&Name=carl')).toBe('404 NoSuchEntity');
    expect(await answer('DescribeUser')).toBe('400 MissingParameter');
  });

  it('users: a certificate with all that clients need, in the project that is named or is named like the user', async () => {
    const made = await ask('GenerateX509ForUser&Name=ann&Project=None');
    expect([texts(made.body, 'username'), texts(made.body, 'accesskey')]).toEqual([['ann'], [world.ann.accessKeyId]]);
    expect(Buffer.from(texts(made.body, 'file')[0] ?? '', 'base64').toString()).toBe('ann in ann');
    expect(await answer('GenerateX509ForUser&Name=bob&Project=ann')).toBe('404 NoSuchEntity');
    expect(await answer('GenerateX509ForUser&Name=moon')).toBe('404 NoSuchEntity');
  });

  it('roles: in a project and globally, added and removed', async () => {
    expect(texts((await ask('DescribeRoles&ProjectRoles=True')).body, 'role')).toEqual(['sysadmin', 'netadmin', 'developer']);
    expect(texts((await ask('DescribeRoles&ProjectRoles=False')).body, 'role')).toEqual(['cloudadmin', 'itsec', 'sysadmin', 'netadmin', 'developer']);
    expect(await answer('ModifyUserRole&User=bob&Role=netadmin&Project=bob&Operation=add')).toBe('ok');
    expect(await answer('ModifyUserRole&User=bob&Role=netadmin&Project=None')).toBe('ok');
    expect(texts((await ask('DescribeUserRoles&User=bob')).body, 'role')).toEqual(['netadmin']);
    expect(texts((await ask('DescribeUserRoles&User=bob&Project=bob')).body, 'role')).toEqual(['netadmin']);
    expect(await answer('ModifyUserRole&User=bob&Role=netadmin&Project=bob&Operation=remove')).toBe('ok');
    expect(texts((await ask('DescribeUserRoles&User=bob&Project=bob')).body, 'role')).toEqual([]);
    expect(await answer('ModifyUserRole&User=bob&Role=netadmin&Operation=toggle')).toBe('400 InvalidParameterValue');
    expect(await answer('ModifyUserRole&User=bob&Role=king')).toBe('404 NoSuchEntity');
    expect(await answer('ModifyUserRole&User=bob&Role=itsec&Project=bob')).toBe('404 NoSuchEntity');
  });

  it('projects: registered with members, described, modified, deregistered', async () => {
    const made = await ask('RegisterProject&Name=shop&ManagerUser=ann&Description=None&MemberUsers.1=bob');
    expect([texts(made.body, 'projectname'), texts(made.body, 'projectManagerId'), texts(made.body, 'description')]).toEqual([['shop'], ['ann'], ['shop']]);
    expect(texts((await ask('DescribeProjectMembers&Name=shop')).body, 'member').toSorted()).toEqual(['ann', 'bob']);
    expect(await answer('ModifyProject&Name=shop&ManagerUser=bob&Description=Our+shop')).toBe('ok');
    expect(texts((await ask('DescribeProject&Name=shop')).body, 'projectManagerId')).toEqual(['bob']);
    expect(texts((await ask('DescribeProjects&User=ann')).body, 'projectname')).toEqual(['ann', 'shop']);
    expect(await answer('ModifyProjectMember&User=bob&Project=shop&Operation=remove')).toBe('409 DeleteConflict');
    expect(await answer('ModifyProjectMember&User=ann&Project=shop&Operation=remove')).toBe('ok');
    expect(await answer('ModifyProjectMember&User=root&Project=shop&Operation=add')).toBe('ok');
    expect(texts((await ask('DescribeProjectMembers&Name=shop')).body, 'member').toSorted()).toEqual(['bob', 'root']);
    expect(await answer('DeregisterProject&Name=shop')).toBe('ok');
    expect(texts((await ask('DescribeProjects')).body, 'projectname')).toEqual(['ann', 'bob']);
  });

  it('hosts, instance types and VPNs', async () => {
    const hosts = await ask('DescribeHosts');
    expect([texts(hosts.body, 'hostname'), texts(hosts.body, 'instanceCount'), texts(hosts.body, 'compute'), texts(hosts.body, 'volume')])
      .toEqual([['host1'], ['0'], ['up'], ['down']]);
    expect(texts((await ask('DescribeHost&Name=host1')).body, 'volumeCount')).toEqual(['0']);
    expect(await answer('DescribeHost&Name=moon')).toBe('404 NoSuchEntity');
    const types = await ask('DescribeInstanceTypes');
    expect([texts(types.body, 'name')[0], texts(types.body, 'memoryMb')[0], texts(types.body, 'flavorId')[0]]).toEqual(['m1.tiny', '512', '1']);
    expect(texts((await ask('DescribeVpns')).body, 'projectId')).toEqual([]);
    expect(texts((await ask('StartVpn&Project=ann')).body, 'instanceId')).toEqual(['vpn-1']);
    expect(started).toEqual(['ann']);
    expect(await answer('StartVpn&Project=moon')).toBe('404 NoSuchEntity');
  });
});

/** What nova-adminclient did: boto's objects, filled by the names of elements. */
const novaClient = `
import sys
from boto.ec2.connection import EC2Connection
from boto.ec2.regioninfo import RegionInfo
from boto.exception import EC2ResponseError

class Info(object):
    def __init__(self, connection=None): pass
    def startElement(self, name, attrs, connection): return None
    def endElement(self, name, value, connection): setattr(self, str(name), str(value))

class SignedV2(EC2Connection):
    APIVersion = 'nova'
    def _required_auth_capability(self): return ['ec2']

port, key, secret, plainKey, plainSecret = int(sys.argv[1]), *sys.argv[2:6]
region = RegionInfo(name='nova', endpoint='127.0.0.1')
api = SignedV2(key, secret, is_secure=False, port=port, path='/services/Admin', region=region)
api.APIVersion = 'nova'
made = api.get_object('RegisterUser', {'Name': 'dora'}, Info)
print(made.username, made.accesskey[:4])
print([user.username for user in api.get_list('DescribeUsers', {}, [('item', Info)])])
project = api.get_object('RegisterProject', {'Name': 'atelier', 'ManagerUser': 'dora', 'Description': None, 'MemberUsers': None}, Info)
print(project.projectname, project.projectManagerId, project.description)
print(api.get_status('ModifyUserRole', {'User': 'dora', 'Role': 'sysadmin', 'Project': 'atelier', 'Operation': 'add'}))
print([role.role for role in api.get_list('DescribeUserRoles', {'User': 'dora', 'Project': 'atelier'}, [('item', Info)])])
cloud = SignedV2(made.accesskey + ':atelier', made.secretkey, is_secure=False, port=port, path='/services/Cloud', region=region)
print([region.name for region in cloud.get_all_regions()])
for other in ((plainKey, plainSecret), (key, 'wrong')):
    try:
        SignedV2(*other, is_secure=False, port=port, path='/services/Admin', region=region).get_list('DescribeUsers', {}, [('item', Info)])
    except EC2ResponseError as error:
        print(error.status, error.error_code)
print(api.get_status('DeregisterProject', {'Name': 'atelier'}), api.get_status('DeregisterUser', {'Name': 'dora'}))
`;

const hasBoto = existsSync('/usr/lib/python3/dist-packages/boto/__init__.py');
if (!hasBoto) process.stderr.write('skipped: boto 2 is not installed (apt-get install python3-boto)\n');

it.skipIf(!hasBoto)('A2: Nova\'s own client works, over boto 2\'s generic query and signature version 2', async () => {
  const url = await world.listen();
  const key = await world.auth.createAccessKey({ user: 'root', project: 'ann' });
  const args = ['-c', novaClient, new URL(url).port, key.accessKeyId, key.secretAccessKey, world.ann.accessKeyId, world.ann.secretAccessKey];
  const { stdout } = await run('/usr/bin/python3', args, { env: { PATH: '/usr/bin:/bin', HOME: '/nonexistent' }, timeout: 60_000 });
  expect(stdout.trim().split('\n')).toEqual([
    'dora AKIA', "['ann', 'bob', 'dora', 'root']", 'atelier dora atelier', 'True', "['sysadmin']", "['nova']", '403 UnauthorizedOperation', '401 AuthFailure',
    'True True',
  ]);
}, 120_000);
