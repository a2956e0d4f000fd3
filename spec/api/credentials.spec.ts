// The zip of credentials, whole: opened by another's program, its chain and the lists of revoked certificates checked by openssl, and sourced by bash
// for the clients of Nova's time.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { randomBytes, X509Certificate } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { revokedSerials } from '../../src/db/certificates.ts';
import { signingCertificatesOf } from '../../src/db/signing-certificates.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import { authorityCommands } from '../../src/roles/manage/authorities.ts';
import type { ManageDeps } from '../../src/roles/manage/deps.ts';
import { projectCommands } from '../../src/roles/manage/projects.ts';
import { createOperatorWork } from '../../src/roles/operator-work.ts';
import { createEc2World, type Ec2World } from '../support/ec2-world.ts';

const run = promisify(execFile);
let world: Ec2World;
let deps: ManageDeps;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'novact-credentials-spec-'));
  world = await createEc2World();
  const ec2Url = await world.listen();
  deps = {
    db: world.db, auth: world.auth, clock: systemClock, sealer: createSealer(randomBytes(32)), run: createRun({ log: silentLog }),
    settings: { region: 'nova', ec2Url, s3Url: 'http://127.0.0.1:1', bind: '127.0.0.1' },
  } as unknown as ManageDeps;
});
afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

async function manage(category: string, verb: string, args: object): Promise<unknown> {
  const command = [...projectCommands, ...authorityCommands].find((each) => each.category === category && each.verb === verb);
  if (command === undefined) throw new Error(`no command ${category} ${verb}`);
  return command.run(deps, command.args.parse(args));
}

/** By Python's reader, which checks the sums; it leaves it to its callers to keep modes. */
const unzip = `
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    assert archive.testzip() is None
    for member in archive.infolist():
        os.chmod(archive.extract(member, sys.argv[2]), member.external_attr >> 16 & 0o777)
`;

/** Into a folder of its own. */
async function unpack(zip: Buffer): Promise<string> {
  const into = await mkdtemp(join(folder, 'zip-'));
  await writeFile(join(into, 'nova.zip'), zip);
  await run('/usr/bin/python3', ['-c', unzip, join(into, 'nova.zip'), into]);
  return into;
}

async function zipOf(project: string, user: string): Promise<string> {
  const { file } = (await manage('project', 'zipfile', { project, user })) as { file: { name: string; base64: string } };
  expect(file.name).toBe('nova.zip');
  return unpack(Buffer.from(file.base64, 'base64'));
}

const openssl = async (...args: string[]): Promise<string> => {
  const { stdout, stderr } = await run('openssl', args).catch((error: { stdout: string; stderr: string }) => error);
  return `${stdout}${stderr}`;
};

/** What openssl says of a certificate by the authorities of its zip, and by the lists of today. */
async function verify(unpacked: string, project: string): Promise<string> {
  const lists = join(unpacked, 'crl.pem');
  await writeFile(lists, `${String(await manage('authority', 'crl', { project }))}\n`);
  return openssl('verify', '-x509_strict', '-crl_check_all', '-CAfile', join(unpacked, 'cacert.pem'), '-CRLfile', lists, join(unpacked, 'cert.pem'));
}

describe('A9: the zip of credentials', { timeout: 120_000 }, () => {
  it('has Nova\'s members, keys for the owner alone, and a certificate for the key in it', async () => {
    const unpacked = await zipOf('ann', 'ann');
    const members = ['novarc', 'pk.pem', 'cert.pem', 'cacert.pem', 'cloud-cert.pem'];
    const modes = await Promise.all(members.map(async (name) => (await stat(join(unpacked, name))).mode & 0o777));
    expect(modes).toEqual([0o600, 0o600, 0o644, 0o644, 0o644]);
    expect(await openssl('x509', '-in', join(unpacked, 'cloud-cert.pem'), '-noout', '-text')).toContain('Key Encipherment');
    expect(await readFile(join(unpacked, 'novarc'), 'utf8')).toContain('EUCALYPTUS_CERT="$NOVA_KEY_DIR/cloud-cert.pem"');
    const ofKey = await openssl('pkey', '-in', join(unpacked, 'pk.pem'), '-pubout');
    expect(await openssl('x509', '-in', join(unpacked, 'cert.pem'), '-noout', '-pubkey')).toBe(ofKey);
    const text = await openssl('x509', '-in', join(unpacked, 'cert.pem'), '-noout', '-text');
    for (const part of ['Public-Key: (2048 bit)', 'ecdsa-with-SHA256', '111122223333 ann', 'CA:FALSE']) expect(text).toContain(part);
    expect((await readFile(join(unpacked, 'cacert.pem'), 'utf8')).match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  });

  it('has a certificate that the cloud knows as one that the project signs bundles with, until it is revoked', async () => {
    await world.auth.createProject({ name: 'signing', manager: 'ann' });
    const { id } = await world.auth.requireProject('signing');
    const zip = await zipOf('signing', 'ann');
    const { serialNumber } = new X509Certificate(await readFile(join(zip, 'cert.pem')));
    const [known] = await signingCertificatesOf(world.db, id);
    expect([known?.userId, new X509Certificate(known?.certificate ?? '').serialNumber]).toEqual([world.ann.userId, serialNumber]);
    expect(await revokedSerials(world.db, id)).toEqual(new Set());
    await manage('authority', 'revoke', { project: 'signing' });
    expect(await revokedSerials(world.db, id)).toEqual(new Set([serialNumber]));
  });

  it('is refused to who may not act in the project, and gives a key to who has none', async () => {
    await expect(zipOf('ann', 'bob')).rejects.toMatchObject({ code: 'NoSuchEntity' });
    await expect(zipOf('nowhere', 'bob')).rejects.toMatchObject({ code: 'NoSuchEntity' });
    await world.auth.createUser({ name: 'eve+1' });
    await world.auth.addMember('bob', 'eve+1');
    const novarc = await readFile(join(await zipOf('bob', 'eve+1'), 'novarc'), 'utf8');
    const [key] = await world.auth.accessKeys('eve+1');
    expect(novarc).toContain(`EC2_ACCESS_KEY=${key?.id}:444455556666\n`);
    await world.auth.modifyUser('eve+1', { enabled: false });
    await expect(zipOf('bob', 'eve+1')).rejects.toThrow('eve+1 is disabled');
  });

  it('is what the Admin API answers in base64, too', async () => {
    const zip = await createOperatorWork(deps).userCredentials('ann', 'ann');
    expect(await verify(await unpack(zip), 'ann')).toContain('cert.pem: OK');
  });

  const hasBoto = existsSync('/usr/lib/python3/dist-packages/boto/__init__.py');
  if (!hasBoto) process.stderr.write('skipped: boto 2 is not installed (apt-get install python3-boto)\n');

  it.skipIf(!hasBoto)('is sourced by bash, and boto 2 and the aws command find the cloud by it', async () => {
    const unpacked = await zipOf('ann', 'ann');
    const client = `
import os, boto
from urllib.parse import urlparse
from boto.ec2.regioninfo import RegionInfo
url = urlparse(os.environ['EC2_URL'])
api = boto.connect_ec2(os.environ['EC2_ACCESS_KEY'], os.environ['EC2_SECRET_KEY'], is_secure=False, port=url.port, path=url.path,
    region=RegionInfo(name='nova', endpoint=url.hostname))
print([region.name for region in api.get_all_regions()])
print([group.owner_id for group in api.get_all_security_groups()][:1])
print(all(os.path.isfile(os.environ[name]) for name in ('EC2_PRIVATE_KEY', 'EC2_CERT', 'NOVA_CERT')), os.environ['EC2_USER_ID'])
`;
    const script = 'source "$1/novarc" && /usr/bin/python3 -c "$2" && aws ec2 describe-regions --query "Regions[].RegionName" --output text';
    const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent', AWS_PAGER: '' };
    const { stdout } = await run('/bin/bash', ['-c', script, 'bash', unpacked, client], { env, cwd: '/', timeout: 60_000 });
    expect(stdout.trim().split('\n')).toEqual(["['nova']", "['111122223333']", 'True 111122223333', 'nova']);
  }, 120_000);
});

describe('A10: the authorities', { timeout: 120_000 }, () => {
  it('are one of the cloud and one below it for each project, and openssl believes none but its own', async () => {
    const [mine, theirs] = [await zipOf('ann', 'ann'), await zipOf('bob', 'bob')];
    expect(await verify(mine, 'ann')).toContain('cert.pem: OK');
    expect(await openssl('verify', '-CAfile', join(theirs, 'cacert.pem'), join(mine, 'cert.pem'))).toContain('unable to get local issuer certificate');
    const [project = '', cloud = ''] = (await readFile(join(mine, 'cacert.pem'), 'utf8')).split(/(?<=END CERTIFICATE-----\n)/);
    await Promise.all([writeFile(join(mine, 'project.pem'), project), writeFile(join(mine, 'cloud.pem'), cloud)]);
    expect(await openssl('verify', '-x509_strict', '-CAfile', join(mine, 'cloud.pem'), join(mine, 'project.pem'))).toContain('project.pem: OK');
    expect(await manage('authority', 'show', { project: 'ann' })).toBe(`${project}${cloud}`.trimEnd());
  });

  it('of requests at once all have the same ones', async () => {
    await world.auth.createProject({ name: 'busy', manager: 'ann' });
    const shown = await Promise.all(Array.from({ length: 4 }, () => manage('authority', 'show', { project: 'busy' })));
    expect(new Set(shown).size).toBe(1);
  });
});

describe('A11: revocation', { timeout: 120_000 }, () => {
  it('by user, by project, and by both: openssl refuses by the list of today, and others stay good', async () => {
    await world.auth.addMember('ann', 'bob');
    const [ann, bob, away] = [await zipOf('ann', 'ann'), await zipOf('ann', 'bob'), await zipOf('bob', 'bob')];
    const good = async () => Promise.all([verify(ann, 'ann'), verify(bob, 'ann'), verify(away, 'bob')]).then((said) => said.map((each) => each.includes('OK')));
    expect(await good()).toEqual([true, true, true]);
    await manage('authority', 'revoke', { user: 'bob', project: 'ann' });
    expect(await good()).toEqual([true, false, true]);
    expect(await verify(bob, 'ann')).toContain('certificate revoked');
    expect(await manage('authority', 'revoke', { user: 'bob', project: 'ann' })).toBe('0 certificates are revoked');
    await manage('authority', 'revoke', { project: 'ann' });
    expect(await good()).toEqual([false, false, true]);
    await manage('authority', 'revoke', { user: 'bob' });
    expect(await good()).toEqual([false, false, false]);
    const issued = (await manage('authority', 'issued', { user: 'bob' })) as { user: string; revoked: string }[];
    expect(issued.every(({ user, revoked }) => user === 'bob' && revoked !== '')).toBe(true);
    await world.auth.createUser({ name: 'gone' });
    await world.auth.addMember('bob', 'gone');
    const [left, { id }] = [await zipOf('bob', 'gone'), await world.auth.requireUser('gone')];
    await world.auth.deleteUser('gone');
    expect(await manage('authority', 'revoke', { user: id })).toBe('1 certificate is revoked');
    expect(await verify(left, 'bob')).toContain('certificate revoked');
    await expect(manage('authority', 'revoke', {})).rejects.toThrow('whose certificates?');
    await expect(manage('authority', 'revoke', { user: 'nobody' })).rejects.toMatchObject({ code: 'NoSuchEntity' });
  });
});
