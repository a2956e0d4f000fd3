// What is said to tgtd and understood of it. The bytes are those that its own tool sends.
import { describe, expect, it } from 'vitest';
import { encodeTgtRequest, parseTgtTarget } from '../../../../src/drivers/volume/tgt-management.ts';

const shown = `Target 1: iqn.2011-02.org.novact:vol-1.a
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 3
            Initiator: iqn.2011-02.org.novact:h1 alias: i-1
            Connection: 0
                IP Address: 10.0.0.7
    LUN information:
        LUN: 0
            Type: controller
            Backing store path: None
            Backing store flags: 
        LUN: 1
            Type: disk
            Backing store type: rdwr
            Backing store path: /srv/vol-1.raw
            Backing store flags: 
    Account information:
        a
    ACL information:
        10.0.0.7
        iqn.2011-02.org.novact:h2
`;

describe('the management protocol of tgtd', () => {
  it('sends the records of tgtadm', () => {
    const account = encodeTgtRequest({ mode: 'account', operation: 'create', values: { user: 'u', password: 'pw' } });
    expect(account.toString('hex').replace(/(00){8,}/g, (zeros) => `<${zeros.length / 2}z>`)).toBe(
      '07000000000000006973637369<59z>8b000000ffffffff<8z>ffffffffffffffff<24z>757365723d752c70617373776f72643d707700',
    );
    const device = encodeTgtRequest({ mode: 'device', operation: 'create', target: 1, device: 1n, values: { path: '/tmp/f', bstype: 'rdwr' } });
    expect(device.toString('hex').replace(/(00){8,}/g, (zeros) => `<${zeros.length / 2}z>`)).toBe(
      '02000000000000006973637369<59z>9000000001<11z>01<31z>706174683d2f746d702f662c6273747970653d7264777200',
    );
  });

  it('refuses what would be read as something else', () => {
    for (const value of ['a,password=b', 'a b', 'a\n', '']) {
      expect(() => encodeTgtRequest({ mode: 'account', operation: 'create', values: { user: value } })).toThrow(expect.objectContaining({ kind: 'failed' }));
    }
  });

  it('understands what it says of its target', () => {
    expect(parseTgtTarget(shown)).toEqual({
      name: 'iqn.2011-02.org.novact:vol-1.a', devices: [{ lun: 1, path: '/srv/vol-1.raw' }], accounts: ['a'],
      allowed: ['10.0.0.7', 'iqn.2011-02.org.novact:h2'],
      sessions: [{ id: 3n, initiator: 'iqn.2011-02.org.novact:h1', connections: [{ id: 0, address: '10.0.0.7' }] }],
    });
    expect(parseTgtTarget('')).toBeUndefined();
  });
});
