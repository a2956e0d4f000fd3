// The network role of one host as every process starts it: its tree of actors, and what answers its mailbox.
import type { networkProtocol } from '../../messages/network.ts';
import type { Handlers } from '../../messages/protocol.ts';
import type { Ref } from '../runtime/actor.ts';
import { isDatabaseAway } from '../../db/away.ts';
import { messageOf } from '../../lib/errors.ts';
import { TransportError } from '../../transport/transport.ts';
import { networkActor, type NetworkMessage, type NetworkTree } from './actor.ts';
import type { NetworkHost } from './host.ts';
import { ensurePort, leavePort, removePort } from './ports.ts';

export interface NetworkRole {
  readonly ref: Ref<NetworkMessage>;
  readonly handlers: Handlers<typeof networkProtocol.table, { readonly requestId?: string | undefined }>;
}

const ensureTimeoutMs = 60_000;

/** Bridges, DHCP and rules are there when this resolves. `actorName`: its own where one system has several hosts. */
export async function startNetworkActors(host: NetworkHost, actorName = 'network'): Promise<NetworkRole> {
  const { system, log } = host;
  let tree: NetworkTree | undefined;
  const ref = system.spawn(networkActor, actorName, { host, onTree: (next) => void (tree = next) });
  const ready = (): NetworkTree => {
    if (tree === undefined) throw new Error('the network role is starting');
    return tree;
  };
  await system.ask<NetworkMessage, null>(ref, (replyTo) => ({ type: 'ensureAll', replyTo }), { timeoutMs: ensureTimeoutMs });
  return {
    ref,
    handlers: {
      async ensurePort({ instanceId }, { requestId }) {
        const port = await orUnavailable(ensurePort(host, ready(), instanceId));
        log.info({ instance: instanceId, requestId }, 'port ensured');
        return port;
      },
      async removePort({ instanceId }, { requestId }) {
        await orUnavailable(removePort(host, ready(), instanceId));
        log.info({ instance: instanceId, requestId }, 'port removed');
        return {};
      },
      async leavePort({ instanceId }) {
        await orUnavailable(leavePort(host, ready(), instanceId));
        return {};
      },
      refreshFirewall: () => system.tell(ref, { type: 'refreshFirewall' }),
    },
  };
}

/** Whoever asks while the database is away is told so at once, and asks again: repeating it here would end in a dead letter. */
async function orUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw isDatabaseAway(error) ? new TransportError('unavailable', messageOf(error)) : error;
  }
}
