// Is KVM really there? A device that opens proves nothing: under nested virtualisation every guest may hang. So a real kernel is
// booted under it, up to its first program, which must speak in time. The answer holds until the host itself is booted again.
import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { constants } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { release } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../../lib/clock.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { Log } from '../../../lib/log.ts';
import { readIfThere } from './console.ts';
import { probeRamdisk, probeText } from './probe-guest.ts';
import { autoDestroy, createXml, destroy } from './procedures.ts';
import type { Session } from './session.ts';
import { escapeXml } from './escape-xml.ts';

export interface ProbeOptions {
  readonly session: Session;
  readonly clock: Clock;
  readonly log: Log;
  readonly stateDirectory: string;
  readonly timeoutMs: number;
  /** The kernel to boot. Default: the host's own. */
  readonly kernelPath?: string | undefined;
  /** For specs: another device. */
  readonly device?: string;
}

export interface ProbeResult {
  readonly kind: 'kvm' | 'qemu';
  /** Why it is not KVM; for the banner. */
  readonly notice: string | undefined;
}

const cacheSchema = z.object({ bootId: z.string(), kind: z.enum(['kvm', 'qemu']), notice: z.string().optional() });
const pollMs = 50;
/** For libvirt's first look at an unknown QEMU, and for making the domain; the guest's own time begins after it. */
const createTimeoutMs = 60_000;

/** KVM when a guest boots under it, else TCG. What can be mended at run time (no device, no kernel) is looked at each time. */
export async function probeKvm(options: ProbeOptions): Promise<ProbeResult> {
  const device = options.device ?? '/dev/kvm';
  const closed = await whyClosed(device, constants.R_OK | constants.W_OK);
  if (closed !== undefined) return tcg(closed);
  const kernelPath = await findKernel(options.kernelPath);
  if (kernelPath === undefined) return tcg(`${device} is there, but no kernel was found to try it with`);
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const cachePath = join(options.stateDirectory, 'kvm-probe.json');
  const known = await readCache(cachePath, bootId);
  if (known !== undefined) return known;
  options.log.info({ device, kernelPath }, 'trying KVM with a probe guest');
  const problem = await bootProbeGuest({ ...options, kernelPath }, 'kvm');
  const result: ProbeResult = problem === undefined ? { kind: 'kvm', notice: undefined } : tcg(`${problem} under ${device}`);
  await writeFile(cachePath, `${JSON.stringify({ bootId, ...result })}\n`);
  return result;
}

/** Undefined when the guest spoke within the time; else what went wrong, in words. Leaves nothing behind. */
export async function bootProbeGuest(options: ProbeOptions & { kernelPath: string }, kind: 'kvm' | 'qemu'): Promise<string | undefined> {
  const { session, clock, timeoutMs, kernelPath } = options;
  const name = `novact-probe-${randomUUID()}`;
  const directory = join(options.stateDirectory, name);
  const [ramdiskPath, output] = [join(directory, 'ramdisk'), join(directory, 'console.log')];
  await mkdir(directory, { recursive: true });
  try {
    await writeFile(ramdiskPath, probeRamdisk());
    const xml = probeXml({ name, kind, kernelPath, ramdiskPath, output });
    // Destroyed with our connection: even a crash of novact leaves no probe behind.
    const domain = await session.run('boot a probe guest', createTimeoutMs, (calls) => calls.call(createXml(xml, autoDestroy)));
    try {
      return (await heard(output, clock, timeoutMs)) ? undefined : `a probe guest did not boot within ${timeoutMs / 1000} s`;
    } finally {
      await session.run('end the probe guest', createTimeoutMs, (calls) => calls.call(destroy(domain))).catch(() => undefined); // it may have ended itself
    }
  } catch (error) {
    return `a probe guest could not be started (${messageOf(error)})`;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The given kernel, else the running one's file, else the distribution's link. */
export async function findKernel(given: string | undefined): Promise<string | undefined> {
  for (const path of given === undefined ? [`/boot/vmlinuz-${release()}`, '/boot/vmlinuz', '/vmlinuz'] : [given]) {
    if ((await whyClosed(path, constants.R_OK)) === undefined) return path;
  }
  return undefined;
}

function tcg(why: string): ProbeResult {
  return { kind: 'qemu', notice: `TCG, slow emulation: ${why}` };
}

async function whyClosed(path: string, mode: number): Promise<string | undefined> {
  try {
    await access(path, mode);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? `${path} does not exist` : `${path} cannot be opened (${messageOf(error)})`;
  }
}

async function heard(output: string, clock: Clock, timeoutMs: number): Promise<boolean> {
  const until = clock.now() + timeoutMs;
  for (;;) {
    const text = await readIfThere(output);
    if (text?.includes(probeText)) return true;
    if (clock.now() >= until) return false;
    await clock.sleep(pollMs);
  }
}

async function readCache(path: string, bootId: string): Promise<ProbeResult | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  try {
    const cache = cacheSchema.parse(JSON.parse(text.toString('utf8')));
    return cache.bootId === bootId ? { kind: cache.kind, notice: cache.notice } : undefined;
  } catch {
    return undefined; // A torn or foreign file is as good as none: the probe runs again.
  }
}

function probeXml(probe: { name: string; kind: 'kvm' | 'qemu'; kernelPath: string; ramdiskPath: string; output: string }): string {
  return `<domain type='${probe.kind}'>
  <name>${escapeXml(probe.name)}</name>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${escapeXml(probe.kernelPath)}</kernel><initrd>${escapeXml(probe.ramdiskPath)}</initrd><cmdline>console=ttyS0 quiet</cmdline>
  </os>
  <features><acpi/><apic/></features>
  ${probe.kind === 'kvm' ? `<cpu mode='host-model'/>` : ''}
  <on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <serial type='pty'><log file='${escapeXml(probe.output)}' append='on'/></serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>`;
}
