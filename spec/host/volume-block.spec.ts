// Protocols over a store of block devices, with real servers and devices of the kernel's loop driver; by ATA over Ethernet: volume-aoe.spec.ts. With
// logical volumes, where the kernel has them: spec/lab/volumes.spec.ts. Root only.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VolumeExporter } from '../../src/drivers/volume/exporter.ts';
import { createIscsiExporter } from '../../src/drivers/volume/iscsi.ts';
import { createNbdExporter } from '../../src/drivers/volume/nbd.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';
import { up, type TestHost } from '../support/host.ts';
import { withLoopDevice } from '../support/loop-device.ts';
import { tryLogin, useDisk } from '../support/qemu-initiator.ts';
import { exportSpecOf, mebibyte } from '../support/volume-contract.ts';
import { giveAddresses, hostAddress } from '../support/volume-host.ts';

const initiator = 'iqn.2011-02.org.novact:h1';
let machine: TestHost;

const exporters: Readonly<Record<'iscsi' | 'nbd', (common: Parameters<typeof createNbdExporter>[0]) => VolumeExporter>> = {
  iscsi: (common) => createIscsiExporter({ ...common, namePrefix: 'iqn.2011-02.org.novact' }),
  nbd: createNbdExporter,
};

beforeAll(async () => {
  await (await up('vol-block')).down();
  machine = await up('vol-block');
  await giveAddresses(machine);
});
afterAll(() => machine?.down());

describe('a volume that is a block device', () => {
  it.each(Object.entries(exporters))('V2: is served over %s: it has what is written, is seen to grow, and is free at the end', async (name, create) => {
    const exporter = create({ folder: join(machine.directory, name), address: hostAddress, firstPort: 4_000, run: machine.run, clock });
    await exporter.probe();
    await withLoopDevice(machine, 16 * mebibyte, async (small) => {
      const spec = exportSpecOf(newId('vol'), { initiators: [{ name: initiator, address: hostAddress }] });
      const connection = await exporter.serve(spec, small, { own: undefined, others: [] });
      const login = { connection, secret: spec.secret, initiator };
      expect(await tryLogin(machine, login)).toBe(String(small.sizeBytes));
      await useDisk(machine, login, 'write -P 0x61 1M 4k', 'flush');
      const written = await machine.run('dd', [`if=${small.path}`, 'bs=4k', 'skip=256', 'count=1', 'iflag=direct', 'status=none']);
      expect(written.stdout).toBe('a'.repeat(4_096));
      const large = await small.grow(32 * mebibyte);
      expect(await exporter.serve(spec, large, { own: { connection, sizeBytes: small.sizeBytes }, others: [] })).toEqual(connection);
      expect(await tryLogin(machine, login)).toBe(String(large.sizeBytes));
      await useDisk(machine, login, 'read -P 0x61 1M 4k', 'read -P 0 16M 16M');
      await exporter.end(spec.attachmentId);
      expect(await tryLogin(machine, login)).toMatch(/Connection refused|Failed to connect/);
    });
    exporter.servers?.close();
  });
});
