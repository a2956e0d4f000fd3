// libvirt does one thing at a time to a domain, and gives up on its turn after half a minute, which is less than starting or ending a domain
// may take on a busy host.
import { libvirtCodes } from './procedures.ts';
import { LibvirtError } from './rpc.ts';

/** Asks again for as long as something else is done to the domain. The caller's calls have a deadline of their own. */
export async function whenFree<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof LibvirtError && error.code === libvirtCodes.operationTimeout)) throw error;
    }
  }
}
