// Envelopes of released versions decode for ever, and their bodies still pass today's schemas.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeEnvelope, encodeEnvelope, envelopeSchema, replyBodySchema, replyType } from '../../../src/messages/envelope.ts';
import { protocols } from '../../../src/messages/index.ts';
import { entryOf, type MessageTable } from '../../../src/messages/protocol.ts';

const folder = new URL('../../golden/messages/', import.meta.url);
const goldens = readdirSync(folder).filter((file) => file.endsWith('.json'));
const tables = new Map<string, MessageTable>(Object.entries(protocols).map(([role, { table }]) => [role, table]));

const undecodable = (text: string) => {
  const decoded = decodeEnvelope(text);
  return 'undecodable' in decoded ? decoded.undecodable : undefined;
};

describe('envelopes', () => {
  it('there are golden envelopes', () => {
    expect(goldens.length).toBeGreaterThanOrEqual(5);
  });

  it.each(goldens)('%s decodes, and its body is understood', (file) => {
    const decoded = decodeEnvelope(readFileSync(new URL(file, folder), 'utf8'));
    if (!('envelope' in decoded)) throw new Error(JSON.stringify(decoded.undecodable));
    const { type, body } = decoded.envelope;
    if (type === replyType) {
      expect(replyBodySchema.safeParse(body).success).toBe(true);
      return;
    }
    const [role = '', verb = ''] = type.split('.');
    const entry = entryOf(tables.get(role) ?? {}, verb);
    expect(entry, type).toBeDefined();
    expect(entry?.body.safeParse(body).success).toBe(true);
  });

  it('what is encoded decodes to the same', () => {
    const envelope = envelopeSchema.parse(JSON.parse(readFileSync(new URL('v1-ask.json', folder), 'utf8')));
    expect(decodeEnvelope(encodeEnvelope(envelope))).toEqual({ envelope });
  });

  it('an unknown version, a text that is no JSON and a shape that is none are told apart', () => {
    expect(undecodable('{"v":2,"id":"x","type":"compute.run","whatever":1}')).toMatchObject({ reason: 'unknownVersion', id: 'x', type: 'compute.run' });
    for (const text of ['', '{', 'null', '[]', '7', '{}', '{"v":1}', '{"v":"1","id":"x"}']) expect(undecodable(text)?.reason, text).toBe('invalid');
  });

  it('a table owns its verbs only', () => {
    for (const verb of ['constructor', '__proto__', 'toString', '']) expect(entryOf(protocols.compute.table, verb)).toBeUndefined();
  });
});
