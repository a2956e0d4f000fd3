// Asks an actor's own policies, and survives their mistakes: a policy that throws or says nothing known escalates (C1, C2).
import type { Log } from '../../lib/log.ts';
import type { ActorDefinition, Decision, Ref } from './actor.ts';

type Policies = Pick<ActorDefinition<unknown, unknown, unknown>, 'onError' | 'onChildFailed'>;

/** B4, C6: without a state there is nothing to resume; `resume` then means `restart`, which has its back-off. */
export function decide(policies: Policies, fault: { error: unknown; message: unknown; hasState: boolean }, log: Log): Decision {
  if (policies.onError === undefined) return 'restart';
  let decision: Decision | undefined;
  try {
    decision = policies.onError(fault.error, fault.message);
  } catch (error) {
    log.error({ err: error }, 'onError threw; escalating');
  }
  if (decision === 'resume' && !fault.hasState) return 'restart';
  return decision === 'resume' || decision === 'restart' || decision === 'stop' ? decision : 'escalate';
}

/** What is to become of a child that failed beyond its own limits. */
export function decideOnChild(policies: Policies, child: Ref<never>, error: unknown, log: Log): 'restart' | 'stop' | 'escalate' {
  try {
    const verdict = policies.onChildFailed?.(child, error);
    return verdict === 'restart' || verdict === 'stop' ? verdict : 'escalate';
  } catch (fault) {
    log.error({ err: fault }, 'onChildFailed threw; escalating');
    return 'escalate';
  }
}
