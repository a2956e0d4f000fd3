// instance.start: a stopped instance runs again, on its own disk, with the address it had. Also what brings guests back after the
// machine was restarted.
//   image, port, domain, start, report: as in instance.run; what fails leaves the instance stopped, its disk untouched.
import { confirmAttachments } from '../../../db/attachments.ts';
import { settle } from '../../../db/instance-work.ts';
import type { Flow } from '../../../lib/flow.ts';
import { ensurePort, type InstanceContext } from './instance-context.ts';
import { defineDomain, prepareImages, unreport } from './run-instance.ts';

export const startInstance: Flow<InstanceContext> = {
  name: 'instance.start',
  steps: [
    { name: 'image', do: prepareImages },
    { name: 'port', do: (context) => ensurePort(context) },
    { name: 'domain', do: (context, outputs) => defineDomain(context, outputs) },
    {
      name: 'start',
      do: ({ host, instance }) => host.hypervisor.ensureRunning(instance.id),
      undo: ({ host, instance }) => host.hypervisor.ensureStopped(instance.id),
    },
    { name: 'report', do: reportStarted, undo: unreport },
  ],
};

/** One that was only moved has been running, as its user sees it, since it was launched. */
async function reportStarted({ host, instance, input }: InstanceContext): Promise<void> {
  const now = host.clock.date();
  const settled = await settle(host.db, instance, ['pending', 'running'], {
    state: 'running', reasonCode: null, reason: null, hypervisor: host.hypervisor.info.kind,
    ...(input['moved'] === true ? {} : { launchedAt: now }),
  }, now);
  if (!settled) throw new Error('the instance is no longer this host\'s, or is to end');
  await confirmAttachments(host.db, instance.id);
}
