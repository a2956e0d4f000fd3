// The contract of auth stores, over those that need no server beside novact's own.
import { afterAll, beforeAll } from 'vitest';
import { authDrivers } from '../../src/drivers/auth/index.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { authSuite } from './auth-suite.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.close());

authSuite('db', () => authDrivers.db({ db: database.db, clock: systemClock }));
authSuite('fake', authDrivers.fake);
