// From one state of tables to another: only what differs is written, in an order in which nothing is named that is not there.
import { describe, expect, it } from 'vitest';
import { firewallTables } from '../../../../src/drivers/network/linux/nft.ts';
import { chainOf, mapOf, nameAfter, renderDifference, renderTables, setOf, type Table } from '../../../../src/drivers/network/linux/ruleset.ts';
import { largeFirewall } from '../../../support/firewall-wishes.ts';

const table = (...parts: Table['parts']): Table[] => [{ family: 'inet', name: 'novact', parts }];
const guests = (...elements: string[]) => mapOf({ name: 'guests', type: 'type ipv4_addr : verdict', elements });
const closed = chainOf({ name: 'closed', rules: ['drop'] });
const forward = (...rules: string[]) => chainOf({ name: 'forward', rules: ['type filter hook forward priority filter; policy accept;', ...rules] });

describe('the difference of tables', () => {
  it('is nothing when nothing differs, in whatever order', () => {
    expect(renderDifference(table(guests('10.0.0.1 : goto closed', '10.0.0.2 : goto closed'), closed), table(closed, guests(
      '10.0.0.2 : goto closed', '10.0.0.1 : goto closed',
    )))).toBe('');
  });

  it('makes what is new, leads there, and takes away what nothing leads to any more', () => {
    const [old, now] = [chainOf({ name: 'ingress_a', rules: ['accept'] }), chainOf({ name: 'ingress_b', rules: ['tcp dport 22 accept', 'drop'] })];
    const before = table(guests('10.0.0.1 : goto ingress_a', '10.0.0.2 : goto closed'), closed, old);
    const after = table(guests('10.0.0.1 : goto ingress_b', '10.0.0.2 : goto closed'), closed, now);
    expect(renderDifference(before, after)).toBe([
      'table inet novact {', '  chain ingress_b {', '    tcp dport 22 accept', '    drop', '  }', '}',
      'delete element inet novact guests { 10.0.0.1 }', 'add element inet novact guests { 10.0.0.1 : goto ingress_b }',
      'flush chain inet novact ingress_a', 'delete chain inet novact ingress_a', '',
    ].join('\n'));
  });

  it('makes sets empty before it fills them, and empties those that go', () => {
    const taps = setOf({ name: 'taps', type: 'type ifname', elements: ['"nv1"'] });
    const text = 'table inet novact {\n  set taps {\n    type ifname\n  }\n}\nadd element inet novact taps { "nv1" }\n';
    expect(renderDifference(table(), table(taps))).toBe(text);
    expect(renderDifference(table(taps), table())).toBe('flush set inet novact taps\ndelete set inet novact taps\n');
  });

  it('writes a chain that stays anew, with its hook', () => {
    const text = renderDifference(table(forward('drop')), table(forward('accept')));
    expect(text).toMatch(/^flush chain inet novact forward\ntable [^]*hook forward[^]* {4}accept\n/);
  });

  it.each([
    [table(forward()), table(chainOf({ ...forward(), rules: ['type filter hook forward priority 10; policy drop;'] }))],
    [table(), table(forward())], [table(forward()), table()],
    [table(guests()), table(setOf({ ...guests(), type: 'type ipv4_addr' }))],
    [table(), [{ family: 'bridge' as const, name: 'novact', parts: [] }]],
  ])('is the whole where a hook or a type differs (%#)', (before, after) => {
    expect(renderDifference(before, after)).toBeUndefined();
  });

  it('of one group among a thousand ports is no longer for it', () => {
    const wish = largeFirewall(1_000);
    const [first] = wish.ports;
    const edited = { ...wish, ports: wish.ports.map((port) => (port.ingress === first?.ingress ? { ...port, ingress: port.ingress.slice(1) } : port)) };
    const [before, after] = [wish, edited].map((one) => firewallTables(one, { matchesBridges: true, uplink: undefined }));
    if (before === undefined || after === undefined) throw new Error('two are needed');
    expect(renderDifference(before, after)?.length).toBeLessThan(renderTables(after).length / 10);
  });
});

it('chains are named after what they hold', () => {
  expect(nameAfter('ingress', 'accept')).toMatch(/^ingress_[0-9a-f]{32}$/);
  expect(nameAfter('ingress', 'accept')).not.toBe(nameAfter('ingress', 'drop'));
});
