// Copies a disk of a running QEMU guest as of one moment, by libvirt's backup: QEMU writes what the disk held when it began, and what the guest
// overwrites meanwhile first. The job goes on without the process that asked for it; the next one ends it and begins anew.
import { rm } from 'node:fs/promises';
import type { Clock } from '../../../lib/clock.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { DiskCopier } from '../driver.ts';
import { escapeXml } from './escape-xml.ts';
import { abortJob, backupBegin, getEndedJob, getJobInfo, jobTypes, libvirtCodes, lookupByName } from './procedures.ts';
import type { Calls, Session } from './session.ts';
import { unless } from './unless.ts';
import type { DomainHandle } from './xdr.ts';

export interface CopierOptions {
  readonly session: Session;
  readonly clock: Clock;
}

const readMs = 10_000;
const beginMs = 60_000;
const pollMs = 300;
const copyMsMax = 3_600_000;

export function createCopier(options: CopierOptions): DiskCopier {
  return { copyDisk: (copy, signal) => copyDisk(options, copy, signal) };
}

async function copyDisk(options: CopierOptions, copy: Parameters<DiskCopier['copyDisk']>[0], signal: AbortSignal): Promise<void> {
  const { session, clock } = options;
  const attempted = `copy ${copy.target} of ${copy.instanceId}`;
  const until = clock.now() + copyMsMax;
  const domain = await session.run(attempted, beginMs, (calls) => begin(options, calls, copy));
  while (await session.run(attempted, readMs, (calls) => isUnderWay(calls, domain))) {
    if (signal.aborted || clock.now() > until) {
      await session.run(attempted, beginMs, (calls) => endJob(options, calls, domain));
      throw new DriverError(signal.aborted ? 'failed' : 'timeout', `${attempted}: ${signal.aborted ? 'cancelled' : `not done after ${copyMsMax} ms`}`);
    }
    await clock.sleep(pollMs, signal).catch(() => undefined); // looked at above
  }
  const { success, error } = await session.run(attempted, readMs, (calls) => calls.call(getEndedJob(domain)));
  if (success !== true) throw new DriverError('failed', `${attempted}: ${error ?? 'it ended before all was copied'}`);
}

/** Repeated when the connection is lost: what began without being heard of is ended. libvirt makes the file, and refuses one that is there. */
async function begin(options: CopierOptions, calls: Calls, { instanceId, target, path }: Parameters<DiskCopier['copyDisk']>[0]): Promise<DomainHandle> {
  const domain = await calls.call(lookupByName(instanceId));
  await endJob(options, calls, domain);
  await rm(path, { force: true });
  await calls.call(backupBegin(domain, backupXml(target, path)));
  return domain;
}

async function endJob({ clock }: CopierOptions, calls: Calls, domain: DomainHandle): Promise<void> {
  while (await isUnderWay(calls, domain)) {
    await unless(calls.call(abortJob(domain)), libvirtCodes.operationInvalid);
    await clock.sleep(pollMs);
  }
}

async function isUnderWay(calls: Calls, domain: DomainHandle): Promise<boolean> {
  return (await calls.call(getJobInfo(domain))).type !== jobTypes.none;
}

/** Only the disks that are named are copied. */
const backupXml = (target: string, path: string): string =>
  `<domainbackup mode='push'><disks><disk name='${escapeXml(target)}' backup='yes' type='file'><driver type='qcow2'/><target file='${escapeXml(path)}'/></disk>`
  + '</disks></domainbackup>';
