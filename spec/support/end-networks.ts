// Networks of projects on a host of a spec: they live in namespaces of their own, with servers that outlive the roles.
import { join } from 'node:path';
import { createNamespaces } from '../../src/drivers/network/linux/namespace.ts';
import { plumbedNetworks } from '../../src/drivers/network/linux/plumbed.ts';
import { segmentLink } from '../../src/drivers/network/linux/project-links.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { findProcesses, signalProcess } from '../../src/lib/processes.ts';

/** As when the machine lost its power: nothing of them is left. `run`: in the host's namespace. */
export async function endNetworks(state: string, run: Run): Promise<void> {
  const networks = join(state, 'networks');
  for (const { pid } of await findProcesses((args) => args.some((arg) => arg.startsWith(`--pid-file=${networks}/`)))) signalProcess(pid, 'SIGKILL');
  const namespaces = createNamespaces({ machine: createRun({ log: silentLog }), clock: systemClock, log: silentLog });
  for (const { bridge, router, segment } of await plumbedNetworks(networks)) {
    if (router === undefined || segment === undefined) continue;
    await namespaces.remove(router.namespace);
    for (const link of [bridge, segmentLink(segment), router.link]) await run('ip', ['link', 'delete', link], { okCodes: [0, 1] });
  }
}
