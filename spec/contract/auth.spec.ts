// The contract of auth stores, over those that need no server beside novact's own.
import { afterAll, beforeAll, describe } from 'vitest';
import { authDrivers } from '../../src/drivers/auth/index.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { authSuite } from './auth-suite.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.close());

// On PGlite, and with `npm test` on PostgreSQL as well.
describe('A4: the database keeps users, projects, roles and keys as every store does:', () => {
  authSuite('db', () => authDrivers.db({ db: database.db, clock: systemClock }));
});
authSuite('fake', authDrivers.fake);
