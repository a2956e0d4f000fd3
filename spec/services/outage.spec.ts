// The database goes away: clients are told so at once, nothing hangs, and when it is back everything goes on by itself.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRelay } from '../../src/actors/operations/relay.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { allActions } from '../../src/api/ec2/actions/index.ts';
import { createDispatcher, type Dispatcher } from '../../src/api/ec2/dispatch.ts';
import { authenticateEc2 } from '../../src/auth/authenticate.ts';
import { AuthManager } from '../../src/auth/manager.ts';
import { openDatabase, type OpenDatabase } from '../../src/db/connect.ts';
import { insertOperation } from '../../src/db/operations.ts';
import { authDrivers } from '../../src/drivers/auth/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import { schedulerProtocol } from '../../src/messages/scheduler.ts';
import { createLocalDirectory } from '../../src/transport/local-directory.ts';
import { createLocalTransport } from '../../src/transport/local.ts';
import { idleOperator, projectQuotas } from '../support/ec2-world.ts';
import { requestOf } from '../support/auth-fixture.ts';
import { waitUntil } from '../support/patience.ts';
import { startPostgres, type PostgresServer } from '../support/postgres-server.ts';

const anybody = { userId: 'u', userName: 'ann', projectId: '111122223333', projectName: 'ann', isSuperuser: true, roles: ['projectmanager'] };

describe('D5 while PostgreSQL is away', () => {
  let server: PostgresServer;
  let database: OpenDatabase;
  let dispatcher: Dispatcher;
  let patient: Dispatcher;
  let auth: AuthManager;
  const transport = createLocalTransport({ clock, log, process: 'outage' });

  beforeAll(async () => {
    server = await startPostgres('outage');
    database = await openDatabase(server.url, { connectionsMax: 4 });
    auth = new AuthManager({ driver: authDrivers.db({ db: database.db, clock }), sealer: createSealer(randomBytes(32)) });
    [dispatcher, patient] = [3_000, 60_000].map((timeoutMs) => createDispatcher({
      actions: allActions,
      authenticate: async () => anybody as never,
      timeoutMs,
      services: {
        db: database.db, auth, operator: idleOperator, transport, relay: { kick: () => undefined, accepts: () => true },
        directory: createLocalDirectory({ clock }), clock, log,
        region: 'nova', zone: 'nova', dnsDomain: 'x', endpoint: 'http://127.0.0.1:8773', instancesPerProjectMax: 20, addressesPerProjectMax: 10,
        ...projectQuotas,
      },
    })) as [Dispatcher, Dispatcher];
  });
  afterAll(async () => {
    await transport.close();
    await database.close();
    await server.close();
  });

  const describeInstances = (by: Dispatcher = dispatcher) =>
    by.dispatch(requestOf({ method: 'POST', target: '/', body: 'Action=DescribeInstances&Version=2016-11-15' }), 'request-1');

  it('the API answers 503 Unavailable at once, not when its time is over, a hundred at once, and 200 as soon as it is back', async () => {
    expect((await describeInstances(patient)).status).toBe(200);
    await server.stop();
    const startedAt = performance.now();
    const answers = await Promise.all(Array.from({ length: 100 }, () => describeInstances(patient)));
    expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 100 }, () => 503));
    expect(answers[0]?.body).toContain('<Code>Unavailable</Code>');
    expect((await describeInstances(patient)).status).toBe(503);
    expect(performance.now() - startedAt).toBeLessThan(15_000);
    await server.start();
    await waitUntil('the API to answer again', { timeoutMs: 60_000, pollMs: 50 }, async () => (await describeInstances()).status === 200);
  });

  it('a signed request is refused as unavailable, not as wrongly signed', async () => {
    const signed = createDispatcher({
      actions: allActions, authenticate: (request, dialect) => authenticateEc2(request, { auth, clock }, dialect), timeoutMs: 3_000,
      services: {
        db: database.db, auth, operator: idleOperator, transport, relay: { kick: () => undefined, accepts: () => true },
        directory: createLocalDirectory({ clock }), clock, log,
        region: 'nova', zone: 'nova', dnsDomain: 'x', endpoint: 'http://127.0.0.1:8773', instancesPerProjectMax: 20, addressesPerProjectMax: 10,
        ...projectQuotas,
      },
    });
    await server.stop();
    const query = new URLSearchParams({
      Action: 'DescribeInstances', Version: '2016-11-15', AWSAccessKeyId: 'AKIAAAAAAAAAAAAAAAAA', SignatureVersion: '2', SignatureMethod: 'HmacSHA256',
      Timestamp: new Date().toISOString(), Signature: 'AAAA',
    });
    const answer = await signed.dispatch(requestOf({ method: 'POST', target: '/', body: query.toString() }), 'request-1');
    expect({ status: answer.status, code: /<Code>(.*)<\/Code>/.exec(answer.body)?.[1] }).toEqual({ status: 503, code: 'Unavailable' });
    await server.start();
  });

  it('a server that is stopped in the middle hangs nobody: calls end by their deadline, and later ones succeed', async () => {
    await waitUntil('the database to be back', { timeoutMs: 60_000, pollMs: 50 }, async () => (await describeInstances()).status === 200);
    server.pause();
    const startedAt = performance.now();
    expect((await describeInstances()).status).toBe(503);
    expect(performance.now() - startedAt).toBeLessThan(20_000); // its time is three seconds, and without it this would hang for ever
    server.resume();
    await waitUntil('the API to answer again', { timeoutMs: 60_000, pollMs: 50 }, async () => (await describeInstances()).status === 200);
  });

  it('what lay in the outbox is sent when it is back, once', async () => {
    const system = createActorSystem({ name: 'outage', clock, log, onFatal: (error) => { throw error; } });
    const told: string[] = [];
    await transport.serve({ role: 'scheduler' }, schedulerProtocol, {
      placeInstance: ({ instanceId }) => void told.push(instanceId),
      placeVolume: () => undefined, performOperation: () => undefined, operationEnded: () => undefined,
    });
    await insertOperation(database.db, {
      kind: 'instance.run', resourceId: 'i-outage', projectId: 'p', userId: 'u', requestId: 'r', owner: 'scheduler', deadline: new Date(),
    }, new Date());
    await server.stop();
    const relay = startRelay({ db: database.db, transport, clock, log, system, intervalMs: 100 });
    relay.kick();
    await describeInstances();
    expect(told).toEqual([]);
    await server.start();
    await waitUntil('the message to come', { timeoutMs: 60_000, pollMs: 50 }, async () => told.length > 0);
    expect(told).toEqual(['i-outage']);
    await system.stop(1_000);
  });
});
