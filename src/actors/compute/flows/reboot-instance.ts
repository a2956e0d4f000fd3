// instance.reboot: the guest is asked to restart, and reset by force when it does not. The state stays `running`.
import type { Flow } from '../../../lib/flow.ts';
import { askUntil, type InstanceContext } from './instance-context.ts';

export const rebootInstance: Flow<InstanceContext> = {
  name: 'instance.reboot',
  steps: [{ name: 'reboot', do: reboot }],
};

async function reboot(context: InstanceContext): Promise<void> {
  const { host, instance } = context;
  let rebooted = false;
  const unsubscribe = host.hypervisor.subscribe((event) => {
    if (event.type === 'rebooted' && event.instanceId === instance.id) rebooted = true;
  });
  try {
    await askUntil(context, host.limits.rebootMs, () => host.hypervisor.reboot(instance.id, { force: false }), async () => rebooted);
    context.signal.throwIfAborted();
    if (!rebooted && !context.hurry.aborted) await host.hypervisor.reboot(instance.id, { force: true });
  } finally {
    unsubscribe();
  }
}
