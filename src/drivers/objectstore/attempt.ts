// What goes wrong with files, as the driver's errors.
import { DriverError, messageOf } from '../../lib/errors.ts';

export const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** Rejects with DriverError: `notFound`, or `failed`, which says so where the disk is full. */
export async function attempt<T>(what: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    const code = codeOf(cause);
    if (code === 'ENOENT') throw new DriverError('notFound', `${what}: there is no such blob`, { cause });
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new DriverError('failed', `${what}: the disk is full`, { cause });
    if (cause instanceof DriverError) throw cause;
    throw new DriverError('failed', `${what}: ${messageOf(cause)}`, { cause });
  }
}
