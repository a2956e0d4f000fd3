// What came with a release is refused while a process of an older one would have to perform it: that one takes it for something that it cannot do,
// and the rows that wait for it would wait for ever.
import type { Directory, ServiceRecord } from '../../transport/directory.ts';
import { fail } from './action.ts';

/** Throws `UnsupportedOperation` while any host that is heard of runs the role in an older release. */
export async function requireRelease(call: { readonly directory: Pick<Directory, 'services'> }, role: ServiceRecord['role'], release: string): Promise<void> {
  const older = (await call.directory.services(role)).filter(({ version }) => isBefore(version, release));
  if (older.length === 0) return;
  const hosts = older.map(({ host, version }) => `${host} (${version})`).join(', ');
  fail('UnsupportedOperation', `This cloud is being upgraded: it needs release ${release} of ${role} on all hosts, and an older one is still on ${hosts}.`);
}

/** Of three numbers each; what is no release is not older. */
function isBefore(version: string, release: string): boolean {
  const [one, other] = [numbersOf(version), numbersOf(release)];
  const first = one.findIndex((number, index) => number !== other[index]);
  return first >= 0 && (one[first] ?? 0) < (other[first] ?? 0);
}

const numbersOf = (version: string): number[] => (/^(\d+)\.(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);
