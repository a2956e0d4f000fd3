// At which port the server of an export listens.
import { DriverError } from '../../lib/errors.ts';
import type { Connection } from './driver.ts';

export interface PortChoice {
  readonly address: string;
  /** Ports from here on may be taken. */
  readonly firstPort: number;
  /** That which it had before: it alone will do. */
  readonly known: number | undefined;
  /** Of all other exports: their ports are taken. */
  readonly others: readonly Connection[];
}

const triedMax = 50;

/** The first at which `start` says that it serves: somebody else may listen at some. Throws `failed` when there is none. */
export async function startAtPort({ address, firstPort, known, others }: PortChoice, start: (port: number) => Promise<boolean>): Promise<number> {
  const taken = new Set(others.flatMap((other) => ('port' in other ? [other.port] : [])));
  const free = Array.from({ length: triedMax + taken.size }, (_, index) => firstPort + index).filter((port) => !taken.has(port));
  for (const port of known === undefined ? free.slice(0, triedMax) : [known]) if (await start(port)) return port;
  throw new DriverError('failed', `nothing can listen at ${address}, port ${known ?? firstPort}: somebody else does`);
}
