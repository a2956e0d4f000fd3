// Takes a disk's source away from an emulator whose guest does not let go of the disk. libvirt has no call for it, so QEMU is told by its own
// monitor: the disk then stands on nothing, every access fails, and the file or the session behind it is closed.
import { z } from 'zod';
import { DriverError } from '../../../lib/errors.ts';
import { monitorCommand } from './procedures.ts';
import type { Calls } from './session.ts';
import type { DomainHandle } from './xdr.ts';

const blocksSchema = z.object({
  return: z.array(z.object({
    qdev: z.string().optional(),
    inserted: z.object({ 'node-name': z.string(), drv: z.string(), ro: z.boolean() }).optional(),
  })),
});
const nodesSchema = z.object({ return: z.array(z.object({ 'node-name': z.string() })) });
const serialSchema = z.object({ return: z.string() });

/** After: nothing of the host is reached by that disk. No error if it is gone, or cut already. */
export async function cutDisk(calls: Calls, domain: DomainHandle, serial: string): Promise<void> {
  const tell = async (execute: string, args: object = {}): Promise<unknown> =>
    JSON.parse(await calls.call(monitorCommand(domain, JSON.stringify({ execute, arguments: args }))));
  const disk = await find(tell, serial);
  if (disk === undefined) return;
  const { format, driver } = disk;
  const nothing = `cut-${format}`;
  const before = await nodeNames(tell);
  if (before.includes(nothing)) return;
  await must(tell('blockdev-add', { driver: 'null-co', 'node-name': nothing, size: 0 }));
  await must(tell('blockdev-reopen', { options: [{ driver, 'node-name': format, 'read-only': false, file: nothing }] }));
  const storage = format.replace(/-format$/, '-storage');
  if (storage !== format && before.includes(storage)) await must(tell('blockdev-del', { 'node-name': storage }));
}

type Tell = (execute: string, args?: object) => Promise<unknown>;

async function find(tell: Tell, serial: string): Promise<{ format: string; driver: string } | undefined> {
  for (const { qdev, inserted } of blocksSchema.parse(await tell('query-block')).return) {
    if (qdev === undefined || inserted === undefined) continue;
    const path = qdev.replace(/\/virtio-backend$/, '');
    const found = serialSchema.safeParse(await tell('qom-get', { path, property: 'serial' }));
    if (found.success && found.data.return === serial) return { format: inserted['node-name'], driver: inserted.drv };
  }
  return undefined;
}

async function nodeNames(tell: Tell): Promise<readonly string[]> {
  return nodesSchema.parse(await tell('query-named-block-nodes', { flat: true })).return.map((node) => node['node-name']);
}

async function must(answer: Promise<unknown>): Promise<void> {
  const said = z.object({ error: z.object({ desc: z.string() }).optional() }).parse(await answer);
  if (said.error !== undefined) throw new DriverError('failed', `QEMU does not cut the disk off: ${said.error.desc}`);
}
