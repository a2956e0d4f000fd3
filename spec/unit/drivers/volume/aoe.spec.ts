// ATA over Ethernet, as commands: what a compute host tells its kernel, and what a volume host finds out before it serves. With real vblades:
// spec/host/volume-aoe.spec.ts; with a kernel that has it: spec/lab/initiators.spec.ts.
import { describe, expect, it } from 'vitest';
import { createAoeInitiator } from '../../../../src/drivers/volume/aoe-initiator.ts';
import { createAoeExporter } from '../../../../src/drivers/volume/aoe.ts';
import { createVolumeConnector } from '../../../../src/drivers/volume/connector.ts';
import { DriverError } from '../../../../src/lib/errors.ts';
import type { Run } from '../../../../src/lib/exec.ts';
import { Secret } from '../../../../src/lib/secret.ts';
import { createManualClock } from '../../../support/manual-clock.ts';

const address = '10.0.3.7';
const place = { shelf: 775, slot: 1 };
const links = JSON.stringify([
  { ifname: 'lo', addr_info: [{ local: '127.0.0.1' }] }, { ifname: 'eth0', addr_info: [{}] }, { ifname: 'eth1', addr_info: [{ local: address }] },
]);

/** A kernel that finds the volume after the second question for it. */
function kernel({ hasModule = true, answers = true } = {}) {
  const files = new Set<string>();
  const lines: string[] = [];
  const said: Record<string, (input: string) => void> = {
    discover: () => lines.filter((line) => line.includes('discover')).length === 2 && answers && files.add('/dev/etherd/e775.1'),
    flush: (input) => input === 'e775.1\0' && files.delete('/dev/etherd/e775.1'),
    revalidate: () => undefined,
  };
  const run: Run = async (command, args, options = {}) => {
    const done = (code = 0, stdout = '') => ({ code, stdout, stderr: '' });
    if (command === 'ip') return done(0, links);
    if (command === 'test') return done(files.has(args[1] ?? '') ? 0 : 1);
    lines.push([command, ...args, ...(options.input === undefined ? [] : [JSON.stringify(options.input)])].join(' '));
    if (command === 'modprobe') {
      if (!hasModule) throw new DriverError('failed', 'modprobe: FATAL: Module aoe not found');
      files.add('/dev/etherd/discover');
    }
    if (command === 'tee') said[args[0]?.split('/').at(-1) ?? '']?.(String(options.input));
    return done();
  };
  const clock = createManualClock();
  return { lines, clock, initiator: createAoeInitiator({ run, clock, address }) };
}

describe('a compute host and ATA over Ethernet', () => {
  it('loads the module for the link of its address alone, asks until the volume is there, and gives it up by its whole name', async () => {
    const { lines, clock, initiator } = kernel();
    const connecting = initiator.ensureConnected(place);
    await clock.advance(1_000);
    expect(await connecting).toBe('/dev/etherd/e775.1');
    expect(lines).toEqual([
      'modprobe aoe aoe_iflist=eth1', 'tee /dev/etherd/discover "\\u0000"', 'tee /dev/etherd/discover "\\u0000"',
    ]);
    lines.splice(0);
    expect(await initiator.ensureConnected(place)).toBe('/dev/etherd/e775.1');
    expect(lines).toEqual(['tee /dev/etherd/revalidate "e775.1\\u0000"']);
    await initiator.ensureDisconnected(place);
    await initiator.ensureDisconnected(place);
    expect(lines.slice(1)).toEqual(['tee /dev/etherd/flush "e775.1\\u0000"']);
  });

  it('says that the kernel lacks it, that nobody answers, and that it reaches no such volumes at all', async () => {
    await expect(kernel({ hasModule: false }).initiator.ensureConnected(place)).rejects.toMatchObject({ kind: 'unsupported' });
    const { clock, initiator } = kernel({ answers: false });
    const connecting = expect(initiator.ensureConnected(place)).rejects.toMatchObject({ kind: 'timeout', message: expect.stringContaining('eth1') });
    await clock.advance(40_000);
    await connecting;
    const access = { initiatorName: 'iqn.2011-02.org.novact:h1', secret: new Secret('unused') };
    await expect(createVolumeConnector().ensureConnected({ protocol: 'aoe', ...place }, access)).rejects.toMatchObject({ kind: 'unsupported' });
    await createVolumeConnector().ensureDisconnected({ protocol: 'aoe', ...place });
  });
});

describe('a volume host and ATA over Ethernet', () => {
  const run: Run = async () => ({ code: 0, stdout: links, stderr: '' });
  const exporter = (change: { address?: string; shelf?: number } = {}) =>
    createAoeExporter({ folder: '/nowhere', address, shelf: undefined, run, clock: createManualClock(), ...change });

  it('states what it cannot do', () => {
    expect(exporter().info).toEqual({ name: 'aoe', remote: true, resizeOnline: false, liveMigration: false, authenticates: false });
    expect(exporter().servers?.holds).toBe(false);
  });

  it('has a shelf by its address, or needs one by its settings', () => {
    for (const other of ['fd00::7', '10.0.255.255']) {
      expect(() => exporter({ address: other })).toThrow('gives this host no shelf');
      expect(exporter({ address: other, shelf: 4 }).info.name).toBe('aoe');
    }
  });
});
