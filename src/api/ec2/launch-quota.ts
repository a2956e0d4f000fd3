// What a client is told whose project may not have more instances, or larger ones.
import type { LaunchResult } from '../../db/reservations.ts';
import { fail } from './action.ts';

export function failOverLaunchQuota({ of, limit, asked }: Extract<LaunchResult, { readonly outcome: 'overQuota' }>): never {
  switch (of) {
    case 'instances': return fail('InstanceLimitExceeded',
      `You have requested more instances (${asked}) than your current instance limit of ${limit} allows.`);
    case 'cores': return fail('VcpuLimitExceeded', `You have requested more vCPU capacity than your current vCPU limit of ${limit} allows.`);
    // AWS has no such limit, and this word for limits that have none of their own.
    case 'memoryMiB': return fail('ResourceLimitExceeded', `You have requested more memory than your current limit of ${limit} MiB allows.`);
  }
}
