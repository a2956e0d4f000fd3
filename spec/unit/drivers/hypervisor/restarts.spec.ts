// A guest's restart under Xen, from the events that libvirt really sends of it.
import { describe, expect, it } from 'vitest';
import { lifecycleChanges } from '../../../../src/drivers/hypervisor/libvirt/procedures.ts';
import { RestartWatch } from '../../../../src/drivers/hypervisor/libvirt/restarts.ts';
import type { RpcEvent } from '../../../../src/drivers/hypervisor/libvirt/rpc.ts';

const event = (change: keyof typeof lifecycleChanges, id: number, name = 'i-1'): RpcEvent =>
  ({ kind: 'lifecycle', domain: { name, uuid: Buffer.alloc(16), id }, change: lifecycleChanges[change] });

const restartsIn = (...events: readonly RpcEvent[]): boolean[] => {
  const watch = new RestartWatch();
  return events.map((each) => watch.isRestart(each));
};

describe('a restart under Xen', () => {
  it('is the end of a domain after the start of its successor', () => {
    expect(restartsIn(event('started', 3), event('started', 4), event('stopped', 3))).toEqual([false, false, true]);
  });

  it('is not a guest that powers off, whether or not it is started again', () => {
    expect(restartsIn(event('started', 3), event('stopped', 3), event('started', 4))).toEqual([false, false, false]);
  });

  it('is not the end of another guest', () => {
    expect(restartsIn(event('started', 3), event('started', 4, 'i-2'), event('stopped', 3))).toEqual([false, false, false]);
  });

  it('is not the end of a domain of that name from before it was defined anew', () => {
    expect(restartsIn(event('started', 9), event('undefined', -1), event('stopped', 3))).toEqual([false, false, false]);
  });
});
