// When owners cannot take more, new work is refused before anything is written; what ends things never is, and afterwards nothing is lost.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allActions } from '../../src/api/ec2/actions/index.ts';
import { createDispatcher } from '../../src/api/ec2/dispatch.ts';
import { instances, operations, outbox, reservations } from '../../src/db/schema/all.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { idleOperator, projectQuotas } from '../support/ec2-world.ts';
import { requestOf } from '../support/auth-fixture.ts';
import { createEc2Lab, type Ec2Lab } from '../support/ec2.ts';

let lab: Ec2Lab;
beforeAll(async () => {
  lab = await createEc2Lab();
});
afterAll(() => lab.close());

describe('while the scheduler cannot take more', () => {
  it('RunInstances is 503 ServiceUnavailable with nothing written, its repetition after that launches, and terminating is always possible', async () => {
    const imageId = await lab.addImage();
    const full = new Set<string>();
    let kicks = 0;
    const relay = { kick: () => void (kicks += 1), accepts: (mailbox: string) => !full.has(mailbox) };
    const dispatcher = createDispatcher({
      actions: allActions, authenticate: async () => lab.ann,
      services: {
        db: lab.db, auth: lab.auth, operator: idleOperator, transport: lab.transport, relay,
        directory: lab.directory, clock, log, region: 'nova', zone: 'nova', dnsDomain: 'x',
        endpoint: 'http://127.0.0.1:8773', instancesPerProjectMax: 20, addressesPerProjectMax: 10, ...projectQuotas,
      },
    });
    const call = async (query: string) => {
      const { status, body } = await dispatcher.dispatch(requestOf({ method: 'POST', target: '/', body: `Version=2016-11-15&${query}` }), 'request-1');
      return { status, body, code: /<Code>(.*)<\/Code>/.exec(body)?.[1] };
    };
    const run = `Action=RunInstances&ImageId=${imageId}&MinCount=1&MaxCount=2&ClientToken=again`;
    full.add('scheduler');
    expect(await call(run)).toMatchObject({ status: 503, code: 'ServiceUnavailable' });
    for (const table of [reservations, instances, operations, outbox]) expect(await lab.db.$count(table)).toBe(0);
    expect(kicks).toBe(0);
    full.clear();
    const launched = await call(run);
    expect(launched.status).toBe(200);
    expect([await lab.db.$count(instances), await lab.db.$count(operations), await lab.db.$count(outbox), kicks]).toEqual([2, 2, 2, 1]);
    full.add('scheduler');
    expect((await call(run)).status).toBe(200); // what was launched before is told again
    const id = /<instanceId>(i-[0-9a-f]+)</.exec(launched.body)?.[1] ?? '';
    expect((await call(`Action=TerminateInstances&InstanceId.1=${id}`)).status).toBe(200);
    expect(await lab.db.$count(outbox)).toBe(3);
  });
});
