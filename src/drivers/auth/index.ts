// The auth stores by the names that NOVACT_AUTH_DRIVER may have. A new one is a file and a line here.
import { createDbAuthDriver, type DbAuthSettings } from './db.ts';
import type { AuthDriver } from './driver.ts';
import { createFakeAuthDriver } from './fake.ts';
import { createLdapAuthDriver, type LdapAuthSettings } from './ldap/ldap.ts';

/** Each takes what it needs. */
export const authDrivers = {
  db: createDbAuthDriver,
  ldap: createLdapAuthDriver,
  fake: createFakeAuthDriver,
} satisfies Readonly<Record<string, (settings: DbAuthSettings & LdapAuthSettings) => AuthDriver>>;
