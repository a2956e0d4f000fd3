// The auth stores by the names that NOVACT_AUTH_DRIVER may have. A new one is a file and a line here.
import { createDbAuthDriver, type DbAuthSettings } from './db.ts';
import type { AuthDriver } from './driver.ts';
import { createFakeAuthDriver } from './fake.ts';

/** What a store may use; each takes what it needs. */
export type AuthDriverSettings = DbAuthSettings;

export const authDrivers: Readonly<Record<'db' | 'fake', (settings: AuthDriverSettings) => AuthDriver>> = {
  db: createDbAuthDriver,
  fake: createFakeAuthDriver,
};
