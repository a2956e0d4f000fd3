// AWS's instance states with their numbers, and the words for why an instance is in one.
import type * as ec2 from '@aws-sdk/client-ec2';
import type { InstanceState } from '../../db/schema/instances.ts';
import type { InstanceRow } from '../../db/instances.ts';

const codes: Readonly<Record<InstanceState, number>> = { pending: 0, running: 16, 'shutting-down': 32, terminated: 48, stopping: 64, stopped: 80 };

export const showState = (state: InstanceState): { Code: number; Name: InstanceState } => ({ Code: codes[state], Name: state });

export const userShutdown = { code: 'Client.UserInitiatedShutdown', message: 'User initiated shutdown' } as const;

/** Code and message, the message beginning with the code as AWS's do. Nothing for a running instance. */
export function showStateReason(row: Pick<InstanceRow, 'state' | 'stateReasonCode' | 'stateReasonMessage'>): ec2.StateReason | undefined {
  const { stateReasonCode: code, stateReasonMessage: message } = row;
  if (row.state === 'running') return undefined;
  if (code === null) return row.state === 'pending' ? { Code: 'pending', Message: 'pending' } : undefined;
  if (message === null || message === '') return { Code: code, Message: code };
  return { Code: code, Message: message.startsWith(code) ? message : `${code}: ${message}` };
}

/** `User initiated (2026-11-22 16:30:07 GMT)`, or the code of what the cloud did; empty while there is nothing to say. */
export function transitionReason(row: Pick<InstanceRow, 'state' | 'stateReasonCode' | 'stateChangedAt'>): string {
  if (row.stateReasonCode === null || row.state === 'running' || row.state === 'pending') return '';
  const at = row.stateChangedAt.toISOString();
  return row.stateReasonCode === userShutdown.code ? `User initiated (${at.slice(0, 10)} ${at.slice(11, 19)} GMT)` : row.stateReasonCode;
}
