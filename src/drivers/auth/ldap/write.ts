// Changes of the directory: refused where it is only read, one at a time in the whole cloud, and everything that was known is forgotten.
import { DriverError } from '../../../lib/errors.ts';
import { ldapError } from './errors.ts';
import type { LdapContext } from './lookup.ts';
import type { ChangedRows } from './mirror.ts';

export type Write = (what: string, work: (rows: ChangedRows) => Promise<void>) => Promise<void>;

export function writable({ settings, mirror, cache }: Pick<LdapContext, 'settings' | 'mirror' | 'cache'>): Write {
  return async (what, work) => {
    if (settings.access === 'read') throw new DriverError('unsupported', `could not ${what}: the directory is only read (NOVACT_LDAP_ACCESS)`);
    try {
      await mirror.change(work);
    } catch (error) {
      throw error instanceof DriverError ? error : referenceError(what, error);
    } finally {
      cache.forget();
    }
  };
}

const foreignKeyViolation = '23503';
const uniqueViolation = '23505';

/** What refers to a row keeps it. Drizzle's message, which has the query and its values, stays out of ours. */
function referenceError(what: string, error: unknown): DriverError {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const code = 'code' in at ? at.code : undefined;
    if (code === foreignKeyViolation) return new DriverError('busy', `could not ${what}: it is in use`);
    if (code === uniqueViolation) return new DriverError('busy', `could not ${what}: the name or id is taken`);
  }
  return ldapError(what, error);
}
