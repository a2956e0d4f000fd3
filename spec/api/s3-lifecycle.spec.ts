// Lifecycle rules: what may be put, and what the objectstore then lets expire, by a clock that the spec moves.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expireObjects } from '../../src/actors/objectstore/expire-objects.ts';
import { expireVersion, findVersion } from '../../src/db/versions.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { code, startS3, texts, type Ask, type S3Fixture } from '../support/s3-server.ts';

let s3: S3Fixture;
let count = 0;
beforeAll(async () => {
  s3 = await startS3();
});
afterAll(() => s3.close());

const ask = (method: string, path: string, rest: Omit<Ask, 'method' | 'path'> = {}) => s3.ask({ method, path, ...rest });
const day = 86_400_000;

async function bucket(rules: string, versioning = ''): Promise<string> {
  const name = `expiring-${(count += 1)}`;
  await ask('PUT', `/${name}`);
  if (versioning !== '') await ask('PUT', `/${name}?versioning`, { body: `<VersioningConfiguration><Status>${versioning}</Status></VersioningConfiguration>` });
  expect(code(await setRules(name, rules))).toBe('200');
  return name;
}

const setRules = (name: string, rules: string) => ask('PUT', `/${name}?lifecycle`, { body: `<LifecycleConfiguration>${rules}</LifecycleConfiguration>` });
const rule = (content: string, filter = '<Filter><Prefix></Prefix></Filter>') => `<Rule>${filter}<Status>Enabled</Status>${content}</Rule>`;
const afterDays = (days: number) => {
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + days * day, date: () => new Date(systemClock.now() + days * day) };
  return expireObjects({ db: s3.database.db, clock, log: silentLog });
};
const keys = async (name: string, query = '') => texts((await ask('GET', `/${name}${query}`)).body, 'Key');

describe('lifecycle rules', () => {
  it('come back as they were put, with an id, and go', async () => {
    const name = await bucket(rule('<Expiration><Days>3</Days></Expiration>',
      '<ID>mine</ID><Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>')
      + rule('<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>', '<Prefix>b/</Prefix>'));
    const { body } = await ask('GET', `/${name}?lifecycle`);
    expect([texts(body, 'Prefix'), texts(body, 'Days'), texts(body, 'Value'), texts(body, 'DaysAfterInitiation')]).toEqual([['a/', 'b/'], ['3'], ['v'], ['1']]);
    // Clients from before there were filters look for it where they put it.
    expect(body).toMatch(/<And><Prefix>a\/<\/Prefix>[^]*<\/ID><Prefix>b\/<\/Prefix><Status>/);
    expect(texts(body, 'ID')).toEqual(['mine', expect.stringMatching(/^\w{30,}$/)]);
    expect((await ask('DELETE', `/${name}?lifecycle`)).status).toBe(204);
    expect(code(await ask('GET', `/${name}?lifecycle`))).toBe('404 NoSuchLifecycleConfiguration');
  });

  it.each([
    ['no action', rule(''), '400 InvalidRequest'], ['no days at all', rule('<Expiration><Days>0</Days></Expiration>'), '400 InvalidArgument'],
    ['a date at noon', rule('<Expiration><Date>2030-01-01T12:00:00Z</Date></Expiration>'), '400 InvalidArgument'],
    ['no date', rule('<Expiration><Date>20200101</Date></Expiration>'), '400 MalformedXML'],
    ['an unknown status', rule('<Expiration><Days>1</Days></Expiration>').replace('Enabled', 'enabled'), '400 MalformedXML'],
    ['a long id', rule('<Expiration><Days>1</Days></Expiration>', `<ID>${'x'.repeat(256)}</ID><Prefix/>`), '400 InvalidArgument'],
    ['one id twice', rule('<Expiration><Days>1</Days></Expiration>', '<ID>x</ID><Prefix/>').repeat(2), '400 InvalidArgument'],
    ['a transition', rule('<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>'), '501 NotImplemented'],
    ['no rule', '', '400 MalformedXML'],
  ])('with %s are refused', async (_what, rules, answer) => {
    const name = `refused-${(count += 1)}`;
    await ask('PUT', `/${name}`);
    expect(code(await setRules(name, rules))).toBe(answer);
  });

  it('let objects go by prefix, tag, size and age, and no others', async () => {
    const name = await bucket(rule('<Expiration><Days>2</Days></Expiration>', '<Filter><Prefix>old/</Prefix></Filter>')
      + rule('<Expiration><Days>2</Days></Expiration>', '<Filter><Tag><Key>t</Key><Value>1</Value></Tag></Filter>')
      + rule('<Expiration><Days>2</Days></Expiration>', '<Filter><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></Filter>')
      + rule('<Expiration><Days>1</Days></Expiration>').replace('Enabled', 'Disabled'));
    for (const key of ['old/a', 'kept', 'olde']) await ask('PUT', `/${name}/${key}`, { body: 'x' });
    await ask('PUT', `/${name}/tagged`, { body: 'x', headers: { 'x-amz-tagging': 't=1' } });
    await ask('PUT', `/${name}/other-tag`, { body: 'x', headers: { 'x-amz-tagging': 't=2' } });
    await ask('PUT', `/${name}/large`, { body: '123456' });
    await afterDays(1);
    expect(await keys(name)).toHaveLength(6);
    await afterDays(3);
    expect(await keys(name)).toEqual(['kept', 'olde', 'other-tag']);
  });

  it('by date let go at once what is there when it has come', async () => {
    const name = await bucket(rule('<Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration>'));
    const later = await bucket(rule('<Expiration><Date>2199-01-01</Date></Expiration>'));
    for (const at of [name, later]) await ask('PUT', `/${at}/k`, { body: 'x' });
    await afterDays(1);
    expect([await keys(name), await keys(later)]).toEqual([[], ['k']]);
  });

  it('of versions put markers, then remove what is not current, then lone markers', async () => {
    const name = await bucket(rule('<Expiration><Days>1</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>'
      + '<NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>'), 'Enabled');
    for (const body of ['1', '22', '333']) await ask('PUT', `/${name}/k`, { body });
    await afterDays(2);
    const { body } = await ask('GET', `/${name}?versions`);
    expect([texts(body, 'IsLatest'), texts(body, 'Size'), body.includes('<DeleteMarker>')]).toEqual([['true', 'false'], ['3'], true]);
    await setRules(name, rule('<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>'
      + '<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>'));
    await afterDays(6);
    await afterDays(6);
    expect(await keys(name, '?versions')).toEqual([]);
  });

  it('leave alone what took the place of what they found', async () => {
    const name = await bucket(rule('<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>'), 'Suspended');
    await ask('PUT', `/${name}/k`, { body: 'old' });
    await ask('DELETE', `/${name}/k`);
    const at = { bucket: name, key: 'k' };
    const found = await findVersion(s3.database.db, at, 'null');
    // Between the look and the deletion the same version, the one without an id, is put again.
    await ask('PUT', `/${name}/k`, { body: 'new' });
    const now = systemClock.date();
    expect(await expireVersion(s3.database.db, at, { versionId: 'null', modifiedAt: found?.modifiedAt ?? now, now })).toBe(false);
    expect((await ask('GET', `/${name}/k`)).body).toBe('new');
  });

  it('give up uploads that were begun long ago', async () => {
    const name = await bucket(rule('<AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>',
      '<Filter><Prefix>up/</Prefix></Filter>'));
    for (const key of ['up/a', 'kept']) await ask('POST', `/${name}/${key}?uploads`);
    expect(await afterDays(1)).toMatchObject({ uploads: 0 });
    expect(await afterDays(3)).toMatchObject({ uploads: 1 });
    expect(await keys(name, '?uploads')).toEqual(['kept']);
  });
});
