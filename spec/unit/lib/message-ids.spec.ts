// Ids of messages: UUIDs of version 7 that ascend, whatever the clock does; and the trace that is made of them.
import { expect, it } from 'vitest';
import { newMessageId } from '../../../src/lib/ids.ts';
import { traceOf } from '../../../src/messages/envelope.ts';

it('ids are UUIDs of version 7, ascend within a millisecond and over a clock set back, and never repeat', () => {
  const start = Date.now() + 60_000;
  const times = [...Array.from({ length: 10_000 }, () => start), start - 5000, start + 1, start + 60_000];
  const ids = times.map(newMessageId);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
  expect(Number.parseInt(ids.at(-1)?.replaceAll('-', '').slice(0, 12) ?? '', 16)).toBe(start + 60_000);
});

it('M11: the trace of a message is the request it belongs to, and one of its own without a request', () => {
  const id = '0190a6c0-0000-7000-8000-0123456789ab';
  expect(traceOf(id, '7b7d7c1e-8f43-4a57-b6a8-0e2b4b9d1c55')).toBe('00-7b7d7c1e8f434a57b6a80e2b4b9d1c55-80000123456789ab-01');
  for (const request of [undefined, 'req-1', '00000000-0000-0000-0000-000000000000']) {
    expect(traceOf(id, request)).toBe('00-0190a6c00000700080000123456789ab-80000123456789ab-01');
  }
});
