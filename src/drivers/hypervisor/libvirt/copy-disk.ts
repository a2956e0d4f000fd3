// Copies a disk of a running QEMU guest as of one moment, by libvirt's backup: QEMU writes what the disk held when it began, and what the guest
// overwrites meanwhile first. The job goes on without the process that asked for it; the next one ends it and begins anew.
import { rm } from 'node:fs/promises';
import type { Clock } from '../../../lib/clock.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { DiskCopier, DiskCopy } from '../driver.ts';
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

/** A domain has one job at a time. */
export function createCopier(options: CopierOptions): DiskCopier {
  const last = new Map<string, Promise<void>>();
  return {
    copyDisk(copy, signal) {
      const before = last.get(copy.instanceId)?.catch(() => undefined) ?? Promise.resolve();
      const own = before.then(() => copyDisk(options, copy, signal)).finally(() => {
        if (last.get(copy.instanceId) === own) last.delete(copy.instanceId);
      });
      last.set(copy.instanceId, own);
      return own;
    },
  };
}

async function copyDisk(options: CopierOptions, copy: DiskCopy, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
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
async function begin(options: CopierOptions, calls: Calls, copy: DiskCopy): Promise<DomainHandle> {
  const domain = await calls.call(lookupByName(copy.instanceId));
  await endJob(options, calls, domain);
  await rm(copy.path, { force: true });
  await calls.call(backupBegin(domain, backupXml(copy)));
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
const backupXml = ({ target, path, format = 'qcow2' }: DiskCopy): string =>
  `<domainbackup mode='push'><disks><disk name='${escapeXml(target)}' backup='yes' type='file'><driver type='${format}'/>`
  + `<target file='${escapeXml(path)}'/></disk></disks></domainbackup>`;
