import { describe, expect, it } from 'vitest';
import { isDatabaseAway } from '../../../src/db/away.ts';
import { errorOf, failureOf } from '../../../src/transport/codec.ts';

const refused = Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:5432'), { code: 'ECONNREFUSED' });

describe('a database that is away', () => {
  it('is known as such by whoever asked a role that could not reach it', () => {
    const failure = failureOf('remote', new Error('a query failed', { cause: refused }));
    if (failure.ok) throw new Error('a failure is no success');
    expect(failure.error).toMatchObject({ code: 'ECONNREFUSED' });
    expect(isDatabaseAway(errorOf(failure))).toBe(true);
  });

  it('is not taken for a refusal of another role', () => {
    const failure = failureOf('remote', Object.assign(new Error('there is none'), { kind: 'notFound' }));
    if (failure.ok) throw new Error('a failure is no success');
    expect(isDatabaseAway(errorOf(failure))).toBe(false);
  });
});
