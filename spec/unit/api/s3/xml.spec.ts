// S3's XML, written and read.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { document, element, parseXml } from '../../../../src/api/s3/xml.ts';

describe('the writer', () => {
  it('escapes text and attributes and leaves out what is undefined', () => {
    expect(element('A', [element('B', '<&>"\u0001\r'), undefined, element('C', 1), element('D', true)], { x: '"' }).markup)
      .toBe('<A x="&quot;"><B>&lt;&amp;&gt;&quot;&#1;&#13;</B><C>1</C><D>true</D></A>');
    expect(document('L', 'eu')).toBe('<?xml version="1.0" encoding="UTF-8"?>\n<L xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu</L>');
  });
});

describe('the reader', () => {
  it('gives back every text that XML can hold', async () => {
    // oxlint-disable-next-line no-control-regex
    const forbidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/;
    const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).filter((value) => !forbidden.test(value));
    await fc.assert(fc.asyncProperty(text, async (value) => {
      const parsed = await parseXml(Buffer.from(document('Root', [element('Key', value)])), 'Root');
      expect(parsed.textOf('Key')).toBe(value);
    }));
  });

  it('ignores prefixes and keeps attributes', async () => {
    const parsed = await parseXml(Buffer.from('<s:Root xmlns:s="x"><s:A t="1">v</s:A><s:A/></s:Root>'), 'Root');
    expect(parsed.all('A').map((item) => [item.text, item.attributes['t']])).toEqual([['v', '1'], ['', undefined]]);
    expect(parsed.textOf('absent')).toBeUndefined();
    expect(() => parsed.textOf('A')).toThrow();
  });

  it.each(['', 'text', '<Root', '<Other/>', '<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]><Root>&e;</Root>', '<__proto__/>',
    '<constructor/>'])('refuses %j', async (body) => {
    await expect(parseXml(Buffer.from(body), 'Root')).rejects.toMatchObject({ code: 'MalformedXML' });
  });
});
