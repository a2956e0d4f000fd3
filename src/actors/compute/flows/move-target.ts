// How a moving instance's source asks its target: patiently while the target is there, and with words when it is not.
import { computeProtocol } from '../../../messages/compute.ts';
import type { AskVerb, BodyOf, ReplyOf } from '../../../messages/protocol.ts';
import { networkProtocol } from '../../../messages/network.ts';
import { messageOf } from '../../../lib/errors.ts';
import { TransportError } from '../../../transport/transport.ts';
import type { InstanceContext } from './instance-context.ts';

type Table = typeof computeProtocol.table;
type Verb = AskVerb<Table> & ('prepareIncoming' | 'receiveIncoming' | 'forgetIncoming' | 'incomingState');

/** One question; a longer work is asked for again, and joined. */
const askMs = 30_000;

/** Throws when the target refuses, is down, or is not done within the time. */
export async function askTarget<V extends Verb>(
  context: InstanceContext, target: string, verb: V, question: { body: BodyOf<Table[V]>; limitMs: number },
): Promise<ReplyOf<Table[V]>> {
  const { host, requestId } = context;
  const end = host.clock.now() + question.limitMs;
  for (;;) {
    context.signal.throwIfAborted();
    try {
      return await host.transport.ask({ role: 'compute', host: target }, computeProtocol, verb, question.body, { timeoutMs: askMs, requestId });
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      if (error.kind === 'remote') throw new Error(`${target}: ${error.remote?.message ?? error.message}`, { cause: error });
      if (!(await isUp(context, target))) throw new Error(`the host ${target} does not answer`, { cause: error });
      if (host.clock.now() >= end) throw new Error(`the host ${target}: ${verb} was not done within ${question.limitMs} ms`, { cause: error });
      if (error.kind !== 'timeout') await host.clock.sleep(pauseMs);
    }
  }
}

const pauseMs = 1_000;

export async function isUp({ host }: Pick<InstanceContext, 'host'>, target: string): Promise<boolean> {
  return (await host.transport.hosts('compute')).includes(target);
}

/** After: the instance's rules, DHCP entry and lease are gone from a host that it does not live on. A host that is down does it when it starts. */
export async function leavePort(context: InstanceContext, hostName: string): Promise<void> {
  const { host, instance, requestId } = context;
  try {
    await host.transport.ask({ role: 'network', host: hostName }, networkProtocol, 'leavePort', { instanceId: instance.id }, { timeoutMs: askMs, requestId });
  } catch (error) {
    if (hostName === host.name) throw error;
    host.log.warn({ instance: instance.id, host: hostName, error: messageOf(error) }, 'the network of the other host was not told; it will see by itself');
  }
}
