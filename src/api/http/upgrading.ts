// Which hosts still run a role in an older release: what came with a release waits for the last of them.
import type { Directory, ServiceRecord } from '../../transport/directory.ts';

/** In words; undefined: none that is heard of. */
export async function olderHosts(directory: Pick<Directory, 'services'>, role: ServiceRecord['role'], release: string): Promise<string | undefined> {
  const older = (await directory.services(role)).filter(({ version }) => isBefore(version, release));
  return older.length === 0 ? undefined : older.map(({ host, version }) => `${host} (${version})`).join(', ');
}

/** Of three numbers each; what is no release is not older. */
function isBefore(version: string, release: string): boolean {
  const [one, other] = [numbersOf(version), numbersOf(release)];
  const first = one.findIndex((number, index) => number !== other[index]);
  return first >= 0 && (one[first] ?? 0) < (other[first] ?? 0);
}

const numbersOf = (version: string): number[] => (/^(\d+)\.(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);
