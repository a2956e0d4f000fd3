// The volumes that an instance is launched with: they were written with it, and are made when its host is known, so that a host that serves no
// others can have them where they are needed.
import { volumesOfInstance } from '../../../db/attachments.ts';
import { wishCreation } from '../../../db/volume-work.ts';
import type { InstanceContext } from './instance-context.ts';

const lookMs = 200;
const lookMsMax = 2_000;

/** All of them are there when this resolves, with how many they are. Throws, with the reason, when one cannot be made. */
export async function makeVolumes({ host, instance, requestId, signal, hurry }: InstanceContext): Promise<number> {
  for (let pauseMs = lookMs; ; pauseMs = Math.min(lookMsMax, pauseMs * 2)) {
    const attached = await volumesOfInstance(host.db, instance.id);
    if (attached.length > 0 && !host.hypervisor.info.bootsKernels) throw new Error(`instances of the hypervisor ${host.hypervisor.info.kind} have no volumes`);
    const failed = attached.find(({ volume }) => volume.state === 'error');
    if (failed !== undefined) throw new Error(`the volume ${failed.volume.id} could not be made: ${failed.volume.stateReason ?? 'unknown'}`);
    const missing = attached.filter(({ volume }) => volume.state === 'creating');
    if (missing.length === 0) return attached.length;
    const wished = await Promise.all(missing.map(({ volume }) => wishCreation(host.db, { volume, near: host.name, requestId }, host.clock.date())));
    if (wished.includes(true)) host.relay.kick();
    signal.throwIfAborted();
    if (hurry.aborted) throw new Error('the user ended the instance');
    await host.clock.sleep(pauseMs, AbortSignal.any([signal, hurry]));
  }
}
