// The metadata service of each network that this host has plumbed: at the gateway's address, in the namespace of the network's router if it has
// one, so that it is known which network a request came from, whatever addresses other networks have.
import { stat } from 'node:fs/promises';
import type { NetworkHost } from '../actors/network/host.ts';
import { createMetadataServer, type MetadataServer } from '../api/metadata/server.ts';
import type { NetworkDriver, NetworkSpec } from '../drivers/network/driver.ts';
import { listenInNamespace } from '../drivers/network/linux/listen.ts';
import { namespacePath } from '../drivers/network/linux/namespace.ts';
import type { Foundation } from './foundation.ts';

interface Served {
  readonly server: MetadataServer;
  /** The namespace that it listens in, as the kernel knows it: another one of the same name is another place. */
  readonly place: string;
}

export function serveMetadata(
  { settings, db, clock, log: parent, drain }: Foundation, { info }: NetworkDriver, tokenKey: Buffer,
): Required<Pick<NetworkHost, 'onPlumbed' | 'onRemoved'>> {
  const log = parent.child({ role: 'metadata' });
  const served = new Map<string, Served>();
  // Without plumbing there is no gateway to listen on: the service is still there to be asked on this machine.
  const onThisMachine = settings.bind.replace(/^(0\.0\.0\.0|::)$/, '127.0.0.1');

  async function stop(networkId: string): Promise<void> {
    await served.get(networkId)?.server.close();
    served.delete(networkId);
  }
  drain.add('server', async () => {
    for (const networkId of served.keys()) await stop(networkId);
  });
  return {
    async onPlumbed(network: NetworkSpec) {
      const namespace = network.router === undefined || !info.plumbs ? undefined : await namespacePath(network.router.namespace);
      const place = namespace === undefined ? 'host' : String((await stat(namespace)).ino);
      if (served.get(network.id)?.place === place) return;
      await stop(network.id);
      const server = createMetadataServer({ db, clock, log, tokenKey, networkId: network.id, region: settings.region, dnsDomain: settings.dnsDomain });
      const [host, port] = [info.plumbs ? network.gateway : onThisMachine, settings.metadataPort];
      await server.listen(host, port, namespace === undefined ? undefined : () => listenInNamespace(namespace, { host, port }));
      served.set(network.id, { server, place });
    },
    onRemoved: stop,
  };
}
