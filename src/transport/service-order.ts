// The order in which every directory lists services: the same everywhere, so that two readers see the same.
import type { ServiceRecord } from './directory.ts';

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export const byHostAndProcess = (a: ServiceRecord, b: ServiceRecord): number => compare(a.host, b.host) || compare(a.process, b.process);
