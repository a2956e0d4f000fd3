// Networks of projects as VLANs, on two hosts in network namespaces of the nested guest, whose kernel tags frames (8021q). By VXLANs: spec/host/vxlan.spec.ts.
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startLab, type Lab } from '../support/lab.ts';
import type { VlanFacts } from '../support/vlan-in-lab.mts';

const root = resolve(import.meta.dirname, '../..');
const slowMs = 1_500_000;
let lab: Lab;
let facts: VlanFacts;

beforeAll(async () => {
  lab = await startLab('lab-vlan');
  const loader = join(root, 'node_modules/tsx/dist/loader.mjs');
  const { stdout } = await lab.run('node', ['--import', loader, 'spec/support/vlan-in-lab.mts'], { cwd: root, timeoutMs: slowMs });
  facts = JSON.parse(stdout) as VlanFacts;
}, slowMs);
afterAll(async () => {
  await lab?.down();
});

describe('two projects with the same range as VLANs on two hosts', () => {
  it('N3: every guest gets its address, gateway and MTU from the DHCP server of its own host', () => {
    expect(facts.leases.map((said) => /^ip=(\S+)$/m.exec(said)?.[1])).toEqual(['10.0.0.10', '10.0.0.10', '10.0.0.11', '10.0.0.11']);
    for (const said of facts.leases) expect(said).toContain('router=10.0.0.1\n');
    for (const said of facts.leases) expect(said).toContain('mtu=1450\n');
  });

  it('N4: guests of one project reach each other across hosts, never one of the other project, and nothing of their host', () => {
    expect(facts.heard.open).toEqual(['red h2 to 10.0.0.10', 'blue h2 to 10.0.0.10', 'red h1 to 10.0.0.11', 'blue h1 to 10.0.0.11']);
    expect(facts.ofTheHost).toEqual([null, null]);
  });

  it('N4: every frame between the hosts has the number of its project, and there are those of both', () => {
    const numbersOf = (mac: string) => {
      const own = facts.frames.filter((line) => line.includes(mac));
      return [...new Set(own.map((line) => Number(/\bvlan (\d+)\b/.exec(line)?.[1])))];
    };
    expect(facts.frames.length).toBeGreaterThanOrEqual(40);
    expect(facts.frames.every((line) => line.includes('802.1Q'))).toBe(true);
    expect([numbersOf('02:16:3e:00:01:'), numbersOf('02:16:3e:00:02:')]).toEqual([[101], [102]]);
  });

  it('N4: security groups hold between the hosts', () => {
    expect(facts.heard.closed).toEqual([null, null, null, null]);
    expect(facts.heard.toLeftOnly).toEqual([null, null, 'red h1 to 10.0.0.11', 'blue h1 to 10.0.0.11']);
  });

  it('leaves nothing on the hosts when the networks go', () => {
    expect(facts.left).toEqual([]);
  });
});
