// Waiting for one's turn with a domain.
import { describe, expect, it } from 'vitest';
import { libvirtCodes } from '../../../../src/drivers/hypervisor/libvirt/procedures.ts';
import { LibvirtError } from '../../../../src/drivers/hypervisor/libvirt/rpc.ts';
import { whenFree } from '../../../../src/drivers/hypervisor/libvirt/when-free.ts';

const refusals = (...codes: readonly number[]) => {
  const left = [...codes];
  return async () => {
    const code = left.shift();
    if (code !== undefined) throw new LibvirtError(code, 'no');
    return 'done';
  };
};

describe('a call that needs a domain for itself', () => {
  it('is made again when libvirt gave up on its turn', async () => {
    expect(await whenFree(refusals(libvirtCodes.operationTimeout, libvirtCodes.operationTimeout))).toBe('done');
  });

  it('is not made again after any other refusal', async () => {
    await expect(whenFree(refusals(libvirtCodes.operationTimeout, libvirtCodes.noDomain))).rejects.toMatchObject({ code: libvirtCodes.noDomain });
  });
});
