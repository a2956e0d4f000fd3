// The parts of the LDAP driver that need no directory: names as text, ids that are made, answers that are kept.
import { DN } from 'ldapts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createAnswerCache } from '../../../../src/drivers/auth/ldap/cache.ts';
import { madeId } from '../../../../src/drivers/auth/ldap/directory.ts';
import { firstValue, nameBelow, relativeName } from '../../../../src/drivers/auth/ldap/names.ts';
import { createManualClock } from '../../../support/manual-clock.ts';

/** Any text, with much in it that means something in names. fast-check's own `binary` thinks for seconds before the first. */
const character = fc.oneof(
  fc.constantFrom(...',+"\\<>;=# \0\n\u007F02Cac'),
  fc.integer({ min: 0, max: 0x10_f7_ff }).map((number) => String.fromCodePoint(number < 0xd8_00 ? number : number + 0x8_00)),
);
const anyName = fc.array(character, { minLength: 1 }).map((characters) => characters.join(''));

describe('names of entries', () => {
  test('have whatever a value is as that value, and nothing more', () => {
    const parent = ',ou=Groups,dc=example';
    // Compared without `expect`, which takes a while to think about each of these texts.
    fc.assert(fc.property(anyName, (value) => {
      const written = nameBelow('cn', value, parent.slice(1));
      const isOnePart = written.endsWith(parent) && !/(?<!\\)[,+;<>"]/.test(written.slice(0, -parent.length));
      return isOnePart && firstValue(written, 'cn') === value && firstValue(written, 'uid') === undefined;
    }), { numRuns: 1_000 });
  });

  test('are written as RFC 4514 says', () => {
    expect(relativeName('cn', 'Smith, Ann + "x" <y>; #1 = \\')).toBe('cn=Smith\\2c Ann \\2b \\22x\\22 \\3cy\\3e\\3b \\231 \\3d \\5c');
    expect([relativeName('cn', ' a '), relativeName('cn', 'ä'), relativeName('cn', '\0')]).toEqual(['cn=\\20a\\20', 'cn=ä', 'cn=\\00']);
  });

  test('are read in the ways in which directories write them', () => {
    for (const name of ['uid=ann,ou=x', 'UID = ann ,ou=x', 'uid=\\61nn,ou=x', 'uid=ann']) expect(firstValue(name, 'uid')).toBe('ann');
    expect(firstValue('cn=Smith\\, Ann,ou=x', 'cn')).toBe('Smith, Ann');
    expect(firstValue('cn=\\C3\\A4,ou=x', 'cn')).toBe('ä');
    // One of two values, and a value in hexadecimal, are left to the directory.
    for (const name of ['uid=ann+cn=b,ou=x', 'uid=#0403616e6e,ou=x', 'cn=b+uid=ann,ou=x']) expect(firstValue(name, 'uid')).toBeUndefined();
    expect(new DN().addPairRDN('uid', 'ann').toString()).toBe(relativeName('uid', 'ann'));
  });
});

test('ids that are made from names are twelve digits, the same for the same name', () => {
  fc.assert(fc.property(fc.string(), (name) => {
    const id = madeId(name);
    return /^[1-9]\d{11}$/.test(id) && madeId(name) === id;
  }));
  expect(madeId('web')).not.toBe(madeId('mail'));
});

describe('answers of the directory', () => {
  const setUp = () => {
    const clock = createManualClock();
    let asked = 0;
    return { clock, cache: createAnswerCache({ clock, ageMsMax: 1_000 }), ask: async () => (asked += 1), asked: () => asked };
  };

  test('are kept up to their age and not a moment longer, also that there is none', async () => {
    const { clock, cache, ask } = setUp();
    expect(await cache.get('a', ask)).toBe(1);
    await clock.advance(999);
    expect(await cache.get('a', ask)).toBe(1);
    await clock.advance(1);
    expect(await cache.get('a', ask)).toBe(2);
    const none = async () => void (await ask());
    await cache.get('b', none);
    await cache.get('b', none);
    expect(await cache.get('a', ask)).toBe(2);
    expect(await ask()).toBe(4);
  });

  test('are asked for once however many ask, and failures are asked for again', async () => {
    const { cache, ask, asked } = setUp();
    expect(await Promise.all([cache.get('a', ask), cache.get('a', ask), cache.get('b', ask)])).toEqual([1, 1, 2]);
    await expect(cache.get('c', () => Promise.reject(new Error('away')))).rejects.toThrow('away');
    expect(await cache.get('c', ask)).toBe(3);
    expect(asked()).toBe(3);
  });

  test('are forgotten when something changes, and with them those that were on their way', async () => {
    const { cache, ask } = setUp();
    let answer: (value: number) => void = () => undefined;
    const late = cache.get('a', () => new Promise<number>((resolve) => { answer = resolve; }));
    cache.forget();
    answer(0);
    expect(await late).toBe(0);
    expect(await cache.get('a', ask)).toBe(1);
  });
});
