// What libvirt says of a domain, in the terms of drivers.
import type { DomainState, DomainStatus } from '../driver.ts';
import { domainStates } from './procedures.ts';

export function isUp(state: number): boolean {
  return state !== domainStates.shutoff && state !== domainStates.crashed;
}

/** virDomainShutoffReason, from 0 on: unknown, shutdown, destroyed, crashed, migrated, saved, failed, from snapshot, daemon. */
const shutoffReasons: readonly DomainStatus['reason'][] = ['unknown', 'guest', 'destroyed', 'failed', 'unknown', 'unknown', 'failed', 'unknown', 'failed'];

export function toStatus(instanceId: string, { state, reason }: { state: number; reason: number }): DomainStatus {
  const shown = stateNames.get(state) ?? 'running';
  return { instanceId, state: shown, reason: shown === 'shutoff' ? (shutoffReasons[reason] ?? 'unknown') : shown === 'crashed' ? 'failed' : 'unknown' };
}

const stateNames = new Map<number, DomainState>([
  [domainStates.paused, 'paused'],
  [domainStates.suspended, 'paused'],
  [domainStates.shutoff, 'shutoff'],
  [domainStates.crashed, 'crashed'],
]);
