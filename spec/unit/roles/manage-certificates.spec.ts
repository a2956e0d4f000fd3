// What `novact manage certificate` does.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createOpensslCertificates } from '../../../src/drivers/certificates/openssl.ts';
import { createRun } from '../../../src/lib/exec.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLog as log } from '../../../src/lib/log.ts';
import { certificateCommands } from '../../../src/roles/manage/certificates.ts';
import type { ManageDeps } from '../../../src/roles/manage/deps.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { cloudRows } from '../../support/instance-rows.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  await cloudRows(database.db, { cidr: '10.45.0.0/28', gateway: '10.45.0.1' });
});
afterAll(() => database.close());

async function manage(verb: string, args: object): Promise<unknown> {
  const command = certificateCommands.find((each) => each.verb === verb);
  if (command === undefined) throw new Error(`no command ${verb}`);
  return command.run({ db: database.db, clock: systemClock } as unknown as ManageDeps, command.args.parse(args));
}

it('S7: what a project\'s bundles may be signed with is added once, listed, and removed', async () => {
  const certificates = createOpensslCertificates({ run: createRun({ log }) });
  const { certificate } = await certificates.createRecipient({ name: 'joe', days: 10 });
  const added = String(await manage('add', { project: 'project', pem: certificate, user: 'joe' }));
  expect(added).toMatch(/^added [0-9a-f]{40}$/);
  const id = added.slice(6);
  expect(await manage('add', { project: 'project', pem: certificate })).toBe(`${id} was there already`);
  expect(await manage('list', { project: 'project' })).toEqual([expect.objectContaining({ id, user: 'joe', subject: 'CN=joe' })]);
  expect(await manage('remove', { project: 'project', id })).toBe(`removed ${id}`);
  await expect(manage('remove', { project: 'project', id })).rejects.toThrow('has no certificate');
  expect(await manage('list', { project: 'project' })).toEqual([]);
});

it('what cannot sign a bundle is refused', async () => {
  const { certificate } = await createOpensslCertificates({ run: createRun({ log }) }).createAuthority({ name: 'an authority', days: 10 });
  await expect(manage('add', { project: 'project', pem: certificate })).rejects.toThrow('has no RSA key');
  await expect(manage('add', { project: 'project', pem: 'no certificate' })).rejects.toThrow('that is no certificate');
  await expect(manage('add', { project: 'absent', pem: certificate })).rejects.toThrow();
});
