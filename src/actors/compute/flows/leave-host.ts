// instance.leave: the instance lives on another host, and nothing of it remains on this one. Each step looks whether that is still so: it may
// have come back. There is no undo; what cannot be done in time is left to the reconciler.
import { loadInstance } from '../../../db/instance-work.ts';
import type { Flow } from '../../../lib/flow.ts';
import { instanceDirectory } from '../host.ts';
import type { InstanceContext } from './instance-context.ts';
import { removeDomain } from './run-instance.ts';
import { leavePort } from './move-target.ts';

export const leaveHost: Flow<InstanceContext> = {
  name: 'instance.leave',
  steps: [
    { name: 'domain', do: unlessBack(removeDomain) },
    { name: 'port', do: unlessBack((context) => leavePort(context, context.host.name)) },
    { name: 'files', do: unlessBack(removeFiles) },
  ],
};

function unlessBack(work: (context: InstanceContext) => Promise<void>): (context: InstanceContext) => Promise<void> {
  return async (context) => {
    const { host, instance } = context;
    const row = await loadInstance(host.db, instance.id);
    if (row?.host !== host.name && row?.migratingTo !== host.name) await work(context);
  };
}

/** On a shared folder they are where the instance needs them. */
async function removeFiles({ host, instance }: InstanceContext): Promise<void> {
  if (host.moves?.instancesShared !== true) await host.files.removeTree(instanceDirectory(host, instance.id));
}
