// What came with a release is refused while a process of an older one would have to perform it: that one takes it for something that it cannot do,
// and the rows that wait for it would wait for ever.
import type { Directory, ServiceRecord } from '../../transport/directory.ts';
import { olderHosts } from '../http/upgrading.ts';
import { fail } from './action.ts';

/** Throws `UnsupportedOperation` while any host that is heard of runs the role in an older release. */
export async function requireRelease(call: { readonly directory: Pick<Directory, 'services'> }, role: ServiceRecord['role'], release: string): Promise<void> {
  const hosts = await olderHosts(call.directory, role, release);
  if (hosts === undefined) return;
  fail('UnsupportedOperation', `This cloud is being upgraded: it needs release ${release} of ${role} on all hosts, and an older one is still on ${hosts}.`);
}
