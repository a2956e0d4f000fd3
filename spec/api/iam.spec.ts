// IAM and STS: who may do what to whom, pages, races, and the aws command with a lasting key and with a session's.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Principal } from '../../src/auth/principal.ts';
import { findOperation, services } from '../../src/api/ec2/model.ts';
import { createEc2World, type Ec2World } from '../support/ec2-world.ts';

const run = promisify(execFile);
let world: Ec2World;
let root: Principal;

beforeAll(async () => {
  world = await createEc2World();
  root = await world.auth.principalFor('root', 'ann');
});
afterAll(() => world.close());

const texts = (xml: string, tag: string) => [...xml.matchAll(new RegExp(`<${tag}>([^<]*)</${tag}>`, 'g'))].map((match) => match[1] ?? '');
const ask = (query: string, as: Principal = world.ann) => world.call(`Version=2010-05-08&Action=${query}`, as);

async function answer(query: string, as: Principal = world.ann): Promise<string> {
  const { status, record } = await ask(query, as);
  return status === 200 ? 'ok' : `${status} ${record.code}`;
}

/** Each test begins with the keys that the world was made with. */
beforeEach(async () => {
  for (const { name, accessKeyId } of [{ name: 'ann', accessKeyId: world.ann.accessKeyId }, { name: 'bob', accessKeyId: world.bob.accessKeyId }]) {
    for (const key of await world.auth.accessKeys(name)) if (key.id !== accessKeyId) await world.auth.deleteAccessKey(key.id);
  }
});

it('EC2, STS and IAM have no action of one name: they share an endpoint', () => {
  const names = Object.values(services).flatMap(({ operations }) => [...operations.keys()]);
  expect(new Set(names).size).toBe(names.length);
  expect(findOperation('ListUsers')?.service).toBe('iam');
});

describe('access keys', () => {
  it('everybody makes, lists, disables and deletes their own', async () => {
    const created = await ask('CreateAccessKey', world.bob);
    const [id = ''] = texts(created.body, 'AccessKeyId');
    expect(texts((await ask('ListAccessKeys', world.bob)).body, 'AccessKeyId').toSorted()).toEqual([world.bob.accessKeyId, id].toSorted());
    expect((await world.auth.findCredential(id))?.secret).toBe(texts(created.body, 'SecretAccessKey')[0]);
    expect(await answer(`UpdateAccessKey&AccessKeyId=${id}&Status=Inactive`, world.bob)).toBe('ok');
    expect(await world.auth.findCredential(id)).toBeUndefined();
    expect(await answer(`UpdateAccessKey&AccessKeyId=${id}&Status=Active&UserName=bob`, world.bob)).toBe('ok');
    const principal = await world.auth.principalOf((await world.auth.findCredential(id)) ?? expect.fail('the key is enabled'));
    expect(principal).toMatchObject({ userName: 'bob', projectId: world.bob.projectId });
    expect(await answer(`DeleteAccessKey&AccessKeyId=${id}`, world.bob)).toBe('ok');
    expect(texts((await ask('ListAccessKeys', world.bob)).body, 'AccessKeyId')).toEqual([world.bob.accessKeyId]);
  });

  it('nobody reaches those of another, not even the manager of a project that both are in, nor learns who exists', async () => {
    await world.auth.addMember('ann', 'bob');
    const theirs = world.bob.accessKeyId;
    for (const name of ['bob', 'nobody']) {
      const onTheirs = [`UpdateAccessKey&AccessKeyId=${theirs}&Status=Inactive`, `DeleteAccessKey&AccessKeyId=${theirs}`];
      for (const query of ['CreateAccessKey', 'ListAccessKeys', ...onTheirs]) {
        expect(await answer(`${query}&UserName=${name}`), query).toBe('403 AccessDenied');
      }
    }
    for (const query of [`UpdateAccessKey&AccessKeyId=${theirs}&Status=Inactive`, `DeleteAccessKey&AccessKeyId=${theirs}`]) {
      expect(await answer(query), query).toBe('404 NoSuchEntity');
    }
    expect((await world.auth.findCredential(theirs))?.user.name).toBe('bob');
    await world.auth.removeMember('ann', 'bob');
  });

  it('a superuser manages those of all; a key stands for the project only where its user is a member', async () => {
    const [inside = ''] = texts((await ask('CreateAccessKey&UserName=ann', root)).body, 'AccessKeyId');
    const [outside = ''] = texts((await ask('CreateAccessKey&UserName=bob', root)).body, 'AccessKeyId');
    const projectOf = async (id: string) => (await world.auth.findCredential(id))?.keyProjectId;
    expect([await projectOf(inside), await projectOf(outside)]).toEqual([world.ann.projectId, undefined]);
    expect(await answer(`DeleteAccessKey&UserName=bob&AccessKeyId=${inside}`, root)).toBe('404 NoSuchEntity');
    expect(await answer(`DeleteAccessKey&UserName=ann&AccessKeyId=${inside}`, root)).toBe('ok');
    expect(await answer('ListAccessKeys&UserName=nobody', root)).toBe('404 NoSuchEntity');
  });

  it('of twenty requests at once none makes a third key', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => answer('CreateAccessKey')));
    expect(new Set(answers.filter((each) => each !== 'ok'))).toEqual(new Set(['409 LimitExceeded']));
    expect((await world.auth.accessKeys('ann')).length).toBeLessThanOrEqual(2);
  });
});

describe('users', () => {
  it('are the members of the project for its manager, all for a superuser, and hidden from plain members', async () => {
    const listed = async (as: Principal) => texts((await ask('ListUsers', as)).body, 'UserName');
    expect(await listed(world.ann)).toEqual(['ann']);
    expect(await listed(root)).toEqual(['ann', 'bob', 'root']);
    expect(await answer('ListUsers', world.bob)).toBe('403 AccessDenied');
    expect(await answer('GetUser', world.bob)).toBe('ok');
    expect(await answer('GetUser&UserName=bob', world.bob)).toBe('ok');
    for (const name of ['ann', 'nobody']) expect(await answer(`GetUser&UserName=${name}`, world.bob)).toBe('403 AccessDenied');
    for (const name of ['bob', 'nobody']) expect(await answer(`GetUser&UserName=${name}`, world.ann)).toBe('404 NoSuchEntity');
    expect(await answer('GetUser&UserName=bob', root)).toBe('ok');
  });

  it('come in pages, each once, whatever comes and goes between them', async () => {
    const first = await ask('ListUsers&MaxItems=1', root);
    expect([texts(first.body, 'UserName'), texts(first.body, 'IsTruncated')]).toEqual([['ann'], ['true']]);
    await world.auth.createUser({ name: 'aaron' });
    const rest = await ask(`ListUsers&MaxItems=1000&Marker=${texts(first.body, 'Marker')[0]}`, root);
    expect([texts(rest.body, 'UserName'), texts(rest.body, 'IsTruncated'), texts(rest.body, 'Marker')]).toEqual([['bob', 'root'], ['false'], []]);
    await world.auth.deleteUser('aaron');
  });
});

describe('a session', () => {
  const session = (): Principal => ({ ...world.ann, isTemporary: true });

  it('may ask who it is, and may neither make keys nor sessions nor see IAM', async () => {
    expect(await answer('GetCallerIdentity', session())).toBe('ok');
    expect(await answer('GetSessionToken', session())).toBe('403 AccessDenied');
    for (const query of ['ListUsers', 'GetUser', 'CreateAccessKey', 'ListAccessKeys', 'ListAccountAliases',
      `UpdateAccessKey&AccessKeyId=${world.ann.accessKeyId}&Status=Inactive`, `DeleteAccessKey&AccessKeyId=${world.ann.accessKeyId}`]) {
      expect(await answer(query, session()), query).toBe('403 InvalidClientTokenId');
    }
  });

  it('lives from 15 minutes to 36 hours', async () => {
    for (const seconds of [900, 129_600]) expect(await answer(`GetSessionToken&DurationSeconds=${seconds}`)).toBe('ok');
    for (const seconds of [899, 129_601]) expect(await answer(`GetSessionToken&DurationSeconds=${seconds}`)).toBe('400 ValidationError');
  });
});

const hasAws = existsSync('/usr/bin/aws');
if (!hasAws) process.stderr.write('skipped: /usr/bin/aws is not installed (apt-get install awscli)\n');

it.skipIf(!hasAws)('the aws command works with keys and sessions that it made itself, and is told when they are over', async () => {
  const url = await world.listen();
  const aws = async (key: Readonly<Record<string, string>>, ...args: string[]): Promise<Record<string, never>> => {
    const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent', AWS_DEFAULT_REGION: 'nova', AWS_MAX_ATTEMPTS: '1', AWS_PAGER: '', ...key };
    const { stdout } = await run('/usr/bin/aws', ['--endpoint-url', url, '--output', 'json', ...args], { env, timeout: 60_000 });
    return stdout === '' ? {} : (JSON.parse(stdout) as Record<string, never>);
  };
  const failure = (...args: Parameters<typeof aws>) => aws(...args).then(() => 'no failure', (error: { stderr?: string }) => error.stderr ?? String(error));
  const lasting = { AWS_ACCESS_KEY_ID: world.ann.accessKeyId, AWS_SECRET_ACCESS_KEY: world.ann.secretAccessKey };
  expect(await aws(lasting, 'iam', 'list-users', '--max-items', '1')).toMatchObject({ Users: [{ UserName: 'ann', Path: '/' }] });
  const { AccessKey: made } = await aws(lasting, 'iam', 'create-access-key') as unknown as { AccessKey: Record<string, string> };
  const second = { AWS_ACCESS_KEY_ID: made['AccessKeyId'] ?? '', AWS_SECRET_ACCESS_KEY: made['SecretAccessKey'] ?? '' };
  const token = await aws(second, 'sts', 'get-session-token', '--duration-seconds', '900') as unknown as { Credentials: Record<string, string> };
  const { Credentials: given } = token;
  const temporary = {
    AWS_ACCESS_KEY_ID: given['AccessKeyId'] ?? '', AWS_SECRET_ACCESS_KEY: given['SecretAccessKey'] ?? '', AWS_SESSION_TOKEN: given['SessionToken'] ?? '',
  };
  expect(await aws(temporary, 'sts', 'get-caller-identity')).toMatchObject({ Arn: 'arn:aws:iam::111122223333:user/ann' });
  await aws(lasting, 'iam', 'update-access-key', '--access-key-id', second.AWS_ACCESS_KEY_ID, '--status', 'Inactive');
  expect(await failure(temporary, 'ec2', 'describe-regions')).toContain('(AuthFailure)');
  await aws(lasting, 'iam', 'delete-access-key', '--access-key-id', second.AWS_ACCESS_KEY_ID);
  expect((await world.auth.accessKeys('ann')).map(({ id }) => id)).toEqual([world.ann.accessKeyId]);
}, 300_000);
