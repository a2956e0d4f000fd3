// instance.stop: the guest is asked to power off, and stopped by force when it does not; disk and address stay.
import { settle } from '../../../db/instance-work.ts';
import type { Flow } from '../../../lib/flow.ts';
import { waitUntilStopped, type InstanceContext } from './instance-context.ts';

export const stopInstance: Flow<InstanceContext> = {
  name: 'instance.stop',
  steps: [
    { name: 'shutdown', do: shutDown },
    { name: 'stop', do: ({ host, instance }) => host.hypervisor.ensureStopped(instance.id) },
    { name: 'report', do: reportStopped },
  ],
};

async function shutDown(context: InstanceContext): Promise<void> {
  if (context.input['force'] === true || context.hurry.aborted) return;
  await context.host.hypervisor.requestShutdown(context.instance.id);
  await waitUntilStopped(context, context.host.limits.shutdownMs);
  // A stopping process leaves the guest its time: the next start goes on waiting.
  context.signal.throwIfAborted();
}

async function reportStopped({ host, instance }: InstanceContext): Promise<void> {
  // The reason stays as the wish wrote it: the user's.
  await settle(host.db, instance, ['stopping', 'stopped'], {
    state: 'stopped', reasonCode: instance.stateReasonCode, reason: instance.stateReasonMessage,
  }, host.clock.date());
}
