// instance.stop: the guest is asked to power off, and stopped by force when it does not; disk and address stay.
import { settle } from '../../../db/instance-work.ts';
import type { Flow } from '../../../lib/flow.ts';
import { askUntil, isStopped, type InstanceContext } from './instance-context.ts';

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
  const { host, instance } = context;
  await askUntil(context, host.limits.shutdownMs, () => host.hypervisor.requestShutdown(instance.id), () => isStopped(context));
  // A stopping process leaves the guest its time: the next start goes on waiting.
  context.signal.throwIfAborted();
}

async function reportStopped({ host, instance }: InstanceContext): Promise<void> {
  // The reason stays as the wish wrote it: the user's.
  await settle(host.db, instance, ['stopping', 'stopped'], {
    state: 'stopped', reasonCode: instance.stateReasonCode, reason: instance.stateReasonMessage,
  }, host.clock.date());
}
