// The LVM store against a volume group of words: what commands it gives, in which order, and what it does when one fails. Over a real one it runs
// where the kernel has a device mapper (npm run test:lab).
import { describe, expect, it } from 'vitest';
import { createLvmStore } from '../../../../src/drivers/volume/lvm-store.ts';
import { DriverError } from '../../../../src/lib/errors.ts';
import type { Run } from '../../../../src/lib/exec.ts';

const mebibyte = 1024 * 1024;
const [volume, snapshot] = ['vol-0123456789abcdef0', 'snap-0123456789abcdef0'];

/** A group of 100 MiB that does what lvcreate, lvrename, lvextend, lvchange and lvremove would; other commands succeed. */
function group(failOn: (line: string) => string | undefined = () => undefined) {
  const volumes = new Map<string, { size: number; tags: string[] }>();
  const lines: string[] = [];
  const valueOf = (args: readonly string[], name: string) => args[args.indexOf(name) + 1] ?? '';
  const own = (path: string | undefined) => path?.split('/').at(-1) ?? '';
  const change: Record<string, (args: readonly string[]) => void> = {
    lvcreate: (args) => {
      const size = args.includes('--snapshot') ? (volumes.get(own(args.at(-1)))?.size ?? 0) : Number.parseInt(valueOf(args, '--size'), 10);
      volumes.set(valueOf(args, '--name'), { size, tags: [valueOf(args, '--addtag')] });
    },
    lvrename: ([, from = '', to = '']) => {
      volumes.set(to, volumes.get(from) ?? { size: 0, tags: [] });
      volumes.delete(from);
    },
    lvremove: (args) => void volumes.delete(own(args.at(-1))),
    lvextend: (args) => {
      const size = Number.parseInt(valueOf(args, '--size'), 10);
      volumes.set(own(args.at(-1)), { tags: [], ...volumes.get(own(args.at(-1))), size });
    },
    lvchange: (args) => {
      const found = volumes.get(own(args.at(-1)));
      if (args.includes('--addtag')) found?.tags.push(valueOf(args, '--addtag'));
      else found?.tags.splice(found.tags.indexOf(valueOf(args, '--deltag')), 1);
    },
  };
  const run: Run = async (command, args) => {
    const line = [command, ...args].join(' ');
    const rows = [...volumes].map(([name, { size, tags }]) => ({ lv_name: name, lv_size: String(size), lv_tags: tags.join(',') }));
    const said = (report: object) => ({ code: 0, stdout: JSON.stringify({ report: [report] }), stderr: '' });
    if (command === 'lvs') return said({ lv: [{ lv_name: 'root', lv_size: '4194304', lv_tags: '' }, ...rows] });
    if (command === 'vgs') {
      const vg = { vg_size: String(100 * mebibyte), vg_free: String(60 * mebibyte), vg_extent_size: String(4 * mebibyte) };
      return said({ vg: [vg] });
    }
    lines.push(line);
    const failure = failOn(line);
    if (failure !== undefined) throw new DriverError('failed', `${line}: exit code 5: ${failure}`);
    change[command]?.(args);
    return { code: 0, stdout: '', stderr: '' };
  };
  return { run, lines, volumes, store: createLvmStore({ group: 'vg', run }) };
}

describe('the LVM store', () => {
  it('fills a volume with zeros before it has its name', async () => {
    const { store, lines } = group();
    await store.probe();
    lines.splice(0);
    await store.ensureVolume({ id: volume, sizeBytes: 8 * mebibyte });
    expect(lines).toEqual([
      `lvcreate --yes --wipesignatures n --zero n --activate y --addtag novact --name draft-${volume} --size ${8 * mebibyte}b vg`,
      `blkdiscard --zeroout --offset 0 /dev/vg/draft-${volume}`,
      `lvrename vg draft-${volume} ${volume}`,
    ]);
    await store.ensureVolume({ id: volume, sizeBytes: 8 * mebibyte });
    expect(lines).toHaveLength(3);
    expect(await store.device(volume)).toEqual({ type: 'block', path: `/dev/vg/${volume}`, sizeBytes: 8 * mebibyte });
    expect(await store.listVolumes()).toEqual([{ id: volume, sizeBytes: 8 * mebibyte }]);
  });

  it('snapshots in one step, copies that, and keeps no tie to the volume', async () => {
    const { store, lines, volumes } = group();
    await store.probe();
    await store.ensureVolume({ id: volume, sizeBytes: 8 * mebibyte });
    lines.splice(0);
    await store.ensureSnapshot({ id: snapshot, volumeId: volume });
    expect(lines).toEqual([
      `lvcreate --yes --snapshot --addtag novact --name draft-${snapshot}-moment --extents 100%ORIGIN vg/${volume}`,
      `lvcreate --yes --wipesignatures n --zero n --activate y --addtag novact --name draft-${snapshot} --size ${8 * mebibyte}b vg`,
      `dd if=/dev/vg/draft-${snapshot}-moment of=/dev/vg/draft-${snapshot} bs=4M conv=fsync,notrunc status=none`,
      `lvrename vg draft-${snapshot} ${snapshot}`,
      `lvremove --yes vg/draft-${snapshot}-moment`,
    ]);
    lines.splice(0);
    await store.ensureVolume({ id: 'vol-0123456789abcdef1', sizeBytes: 12 * mebibyte, from: { snapshotId: snapshot } });
    expect(lines.slice(1, 3)).toEqual([
      `dd if=/dev/vg/${snapshot} of=/dev/vg/draft-vol-0123456789abcdef1 bs=4M conv=fsync,notrunc status=none`,
      `blkdiscard --zeroout --offset ${8 * mebibyte} /dev/vg/draft-vol-0123456789abcdef1`,
    ]);
    expect([...volumes.keys()].some((name) => name.startsWith('draft-'))).toBe(false);
  });

  it('writes down what is not zeros yet when it grows, and goes on from there', async () => {
    let isFull = true;
    const { store, lines, volumes } = group((line) => (isFull && line.startsWith('blkdiscard --zeroout --offset 8388608') ? 'killed' : undefined));
    await store.probe();
    await store.ensureVolume({ id: volume, sizeBytes: 8 * mebibyte });
    await expect(store.resize(volume, 16 * mebibyte)).rejects.toMatchObject({ kind: 'failed' });
    expect(volumes.get(volume)).toEqual({ size: 16 * mebibyte, tags: ['novact', 'novact.dirty-from=8388608'] });
    isFull = false;
    lines.splice(0);
    await store.resize(volume, 16 * mebibyte);
    expect(lines).toEqual([`blkdiscard --zeroout --offset 8388608 /dev/vg/${volume}`, `lvchange --deltag novact.dirty-from=8388608 vg/${volume}`]);
    expect(volumes.get(volume)?.tags).toEqual(['novact']);
  });

  it('leaves nothing of what fails, and removes what a killed start left', async () => {
    const failing = group((line) => (line.startsWith('dd ') ? 'Input/output error' : undefined));
    await failing.store.probe();
    await failing.store.ensureVolume({ id: volume, sizeBytes: 8 * mebibyte });
    await expect(failing.store.ensureSnapshot({ id: snapshot, volumeId: volume })).rejects.toMatchObject({ kind: 'failed' });
    expect([...failing.volumes.keys()]).toEqual([volume]);
    failing.volumes.set(`draft-${snapshot}`, { size: 1, tags: ['novact'] }).set(`draft-${snapshot}-moment`, { size: 1, tags: ['novact'] });
    failing.lines.splice(0);
    await failing.store.probe();
    expect(failing.lines.slice(1)).toEqual([`lvremove --yes vg/draft-${snapshot}-moment`, `lvremove --yes vg/draft-${snapshot}`]);
  });

  it('says that there is no room, and what the host lacks', async () => {
    const noSpace = 'Volume group "vg" has insufficient free space (10 extents): 20 required.';
    const full = group((line) => (line.startsWith('lvcreate') ? noSpace : undefined));
    await full.store.probe();
    await expect(full.store.ensureVolume({ id: volume, sizeBytes: 80 * mebibyte })).rejects.toMatchObject({ message: expect.stringContaining('no room') });
    const misfit = { message: expect.stringContaining('extents of 4194304') };
    await expect(full.store.ensureVolume({ id: volume, sizeBytes: mebibyte })).rejects.toMatchObject(misfit);
    const bare = group((line) => (line.startsWith('dmsetup') ? 'Incompatible libdevmapper and kernel driver' : undefined));
    await expect(bare.store.probe()).rejects.toMatchObject({ kind: 'unsupported', message: expect.stringContaining('modprobe dm_mod') });
    expect(() => createLvmStore({ group: '../etc', run: bare.run })).toThrow(expect.objectContaining({ kind: 'failed' }));
  });
});
