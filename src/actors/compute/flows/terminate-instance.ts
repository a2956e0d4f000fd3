// instance.terminate: nothing of the instance remains on this host; its address and its room are free. There is no undo: it goes on until
// it is done. Its volumes are taken back by their hosts, in the transaction that ends it; those that are to go with it go then.
import { endInstance } from '../../../db/instance-work.ts';
import type { Flow } from '../../../lib/flow.ts';
import { instanceDirectory } from '../host.ts';
import { removeDomain } from './run-instance.ts';
import { removePort, type InstanceContext } from './instance-context.ts';

export const terminateInstance: Flow<InstanceContext> = {
  name: 'instance.terminate',
  steps: [
    { name: 'stop', do: ({ host, instance }) => host.hypervisor.ensureStopped(instance.id) },
    { name: 'domain', do: removeDomain },
    { name: 'port', do: removePort },
    { name: 'files', do: ({ host, instance }) => host.files.removeTree(instanceDirectory(host, instance.id)) },
    { name: 'report', do: ({ host, instance }) => host.db.transaction((tx) => endInstance(tx, instance, undefined, host.clock.date())) },
  ],
};
