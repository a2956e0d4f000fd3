// What every transport must do, as src/transport/transport.ts says it, over any factory that can make several
// "processes" on one medium and kill one as `kill -9` does.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ApiError, DriverError } from '../../src/lib/errors.ts';
import { protocol } from '../../src/messages/protocol.ts';
import { TransportError, type Delivery, type Transport } from '../../src/transport/transport.ts';
import { eventually, gate, until } from '../support/waiting.ts';
import { compute, handlers, host1, host2, scheduler } from './transport-protocol.ts';

/** Processes that share mailboxes. */
export interface Cloud {
  process(name: string): Promise<Transport>;
  kill(name: string): Promise<void>;
  /** Ends what is left of it. */
  close(): Promise<void>;
}

const refusal = (kind: string): Record<string, string> => ({ name: 'TransportError', kind });

export function transportSuite(name: string, createCloud: () => Promise<Cloud>): void {
  describe(`transport: ${name}`, () => {
    let cloud: Cloud;
    let api: Transport;
    let worker: Transport;

    beforeEach(async () => {
      cloud = await createCloud();
      api = await cloud.process('api');
      worker = await cloud.process('worker');
    });
    afterEach(() => cloud.close());

    describe('sending', () => {
      it('a tell reaches its handler with body, request id and delivery count', async () => {
        const seen: unknown[] = [];
        const note = (body: unknown, { requestId, deliveries, deadline }: Delivery): void => void seen.push({ body, requestId, deliveries, deadline });
        await worker.serve(host1, compute, handlers({ note }));
        await api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 1 }, { requestId: 'req-1' });
        await until(() => seen.length === 1);
        expect(seen).toEqual([{ body: { instanceId: 'i-1', n: 1 }, requestId: 'req-1', deliveries: 1, deadline: undefined }]);
      });

      it('a mailbox without a receiver keeps what it gets', async () => {
        for (let n = 0; n < 5; n += 1) await api.tell(host1, compute, 'note', { instanceId: 'i-1', n });
        expect(await api.depths()).toContainEqual({ mailbox: 'compute@host1', waiting: 5, inHand: 0 });
        const seen: number[] = [];
        await worker.serve(host1, compute, handlers({ note: ({ n }) => void seen.push(n) }));
        await until(() => seen.length === 5);
        expect(seen).toEqual([0, 1, 2, 3, 4]);
      });

      it('an ask is answered, also within one process', async () => {
        await worker.serve(host1, compute, handlers());
        await expect(api.ask(host1, compute, 'double', { n: 21 })).resolves.toEqual({ n: 42 });
        await expect(worker.ask(host1, compute, 'double', { n: 4 })).resolves.toEqual({ n: 8 });
      });

      it('many asks at once each get their own answer', async () => {
        await worker.serve(host1, compute, handlers({ double: async ({ n }) => {
          await new Promise((resolve) => { setTimeout(resolve, n % 3); });
          return { n: 2 * n };
        } }));
        const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => api.ask(host1, compute, 'double', { n })));
        expect(answers.map(({ n }) => n)).toEqual(Array.from({ length: 300 }, (_, n) => 2 * n));
      });

      it('what cannot be encoded, or does not fit the schema, is refused to the sender as invalid', async () => {
        for (const body of [{ n: 'one' }, { n: 10n }, { n: Infinity }, { n: new Date() }, undefined, null]) {
          await expect(api.tell(host1, compute, 'mark', body as never), String(body)).rejects.toMatchObject(refusal('invalid'));
          await expect(api.ask(host1, compute, 'double', body as never), String(body)).rejects.toMatchObject(refusal('invalid'));
        }
        await expect(api.tell(host1, compute, 'constructor' as never, {} as never)).rejects.toMatchObject(refusal('invalid'));
        await expect(api.tell({ role: 'network', host: 'host1' }, compute, 'mark', { n: 1 })).rejects.toMatchObject(refusal('invalid'));
        expect((await api.depths()).every(({ waiting }) => waiting === 0)).toBe(true);
      });

      it('an answer that does not fit its schema is invalid to the asker and is not repeated', async () => {
        let calls = 0;
        await worker.serve(host1, compute, handlers({ double: () => ({ n: new Map(), calls: (calls += 1) }) as never }));
        await expect(api.ask(host1, compute, 'double', { n: 1 })).rejects.toMatchObject(refusal('invalid'));
        expect(calls).toBe(1);
      });

      it('a body crosses as a copy', async () => {
        const seen: { n: number }[] = [];
        await worker.serve(host1, compute, handlers({ mark: (body) => void seen.push(body) }));
        const body = { n: 1, unknown: 'dropped' };
        await api.tell(host1, compute, 'mark', body);
        body.n = 2;
        await until(() => seen.length === 1);
        expect(seen).toEqual([{ n: 1 }]);
      });
    });

    describe('order and parallelism', () => {
      it('messages of one key are handled one after another in order, those of different keys in parallel', async () => {
        const seen = new Map<string, number[]>();
        const inHand = new Map<string, number>();
        let [most, mostOfOne] = [0, 0];
        await worker.serve(host1, compute, handlers({ note: async ({ instanceId, n }) => {
          inHand.set(instanceId, (inHand.get(instanceId) ?? 0) + 1);
          mostOfOne = Math.max(mostOfOne, inHand.get(instanceId) ?? 0);
          most = Math.max(most, [...inHand.values()].reduce((sum, each) => sum + each, 0));
          await until(() => most === 4); // however slowly they are sent
          await new Promise((resolve) => { setTimeout(resolve, Math.random() * 3); });
          seen.set(instanceId, [...(seen.get(instanceId) ?? []), n]);
          inHand.set(instanceId, (inHand.get(instanceId) ?? 0) - 1);
        } }), { concurrencyMax: 4 });
        for (let n = 0; n < 20; n += 1) {
          for (let i = 0; i < 6; i += 1) await api.tell(host1, compute, 'note', { instanceId: `i-${i}`, n });
          await new Promise((resolve) => { setImmediate(resolve); }); // some are in hand when the next of their key comes
        }
        await until(() => [...seen.values()].flat().length === 120);
        for (const numbers of seen.values()) expect(numbers).toEqual(Array.from({ length: 20 }, (_, n) => n));
        expect(mostOfOne).toBe(1);
        expect(most).toBe(4);
      });

      it('a message waits for one of its key that is in hand, also when the key was given by the sender, and holds up nothing else', async () => {
        const held = gate();
        const seen: number[] = [];
        await worker.serve(host1, compute, handlers({ mark: async ({ n }) => {
          seen.push(n);
          if (n === 1) await held.opened;
        } }));
        for (const n of [1, 2]) {
          await api.tell(host1, compute, 'mark', { n }, { orderKey: 'same' });
          await until(() => seen.includes(1));
        }
        for (let n = 0; n < 5; n += 1) await api.ask(host1, compute, 'double', { n });
        expect(seen).toEqual([1]);
        held.open();
        await until(() => seen.length === 2);
      });

      it('order survives a failing message: later ones of its key wait for its retry', async () => {
        const seen: string[] = [];
        for (const [instanceId, n] of [['i-1', 0], ['i-1', 1], ['i-1', 2], ['i-2', 0]] as const) await api.tell(host1, compute, 'note', { instanceId, n });
        await worker.serve(host1, compute, handlers({ note: ({ instanceId, n }, { deliveries }) => {
          if (n === 1 && deliveries < 3) throw new Error('not yet');
          seen.push(`${instanceId}:${n}`);
        } }));
        await until(() => seen.length === 4);
        expect(seen.filter((each) => each.startsWith('i-1'))).toEqual(['i-1:0', 'i-1:1', 'i-1:2']);
        expect(seen.indexOf('i-2:0')).toBeLessThan(seen.indexOf('i-1:1'));
      });

      it('each message of a shared mailbox is taken by one of its receivers, and all of them work', async () => {
        const taken: string[] = [];
        const busy = new Set<string>();
        for (const who of ['one', 'two', 'three']) {
          const transport = await cloud.process(who);
          await transport.serve({ role: 'scheduler' }, scheduler, { place: async ({ n }) => {
            busy.add(who);
            await until(() => busy.size === 3);
            taken.push(`${who}:${n}`);
          } }, { concurrencyMax: 2 });
        }
        for (let n = 0; n < 60; n += 1) await api.tell({ role: 'scheduler' }, scheduler, 'place', { n });
        await until(() => taken.length === 60);
        expect(new Set(taken.map((each) => each.split(':')[1])).size).toBe(60);
      });
    });

    describe('failures', () => {
      it('a tell whose handler throws comes again, then is a dead letter, and the mailbox goes on', async () => {
        const deliveries: number[] = [];
        const marked: number[] = [];
        await worker.serve(host1, compute, handlers({
          note: (_body, delivery) => {
            deliveries.push(delivery.deliveries);
            throw new ApiError('Any', 'kind of error');
          },
          mark: ({ n }) => void marked.push(n),
        }), { deliveriesMax: 3 });
        await api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 1 });
        await api.tell(host1, compute, 'mark', { n: 7 });
        await eventually(async () => (await api.deadLetters()).length === 1);
        const letters = await api.deadLetters();
        expect(deliveries).toEqual([1, 2, 3]);
        expect(marked).toEqual([7]);
        expect(letters).toEqual([expect.objectContaining({ type: 'compute.note', to: 'compute@host1', reason: 'poison', error: 'kind of error' })]);
        expect(await api.depths()).toContainEqual({ mailbox: 'compute@host1', waiting: 0, inHand: 0 });
      });

      it('an expected error answers an ask at once, with name, code and message', async () => {
        let calls = 0;
        const thrown: Error[] = [
          new ApiError('InvalidInstanceID.NotFound', 'no such instance'), new DriverError('busy', 'the disk is busy'),
          new TransportError('timeout', 'no answer'),
        ];
        await worker.serve(host1, compute, handlers({ double: ({ n }) => {
          calls += 1;
          throw thrown[n] ?? new Error();
        } }));
        const failed = await Promise.all(thrown.map((_, n) => api.ask(host1, compute, 'double', { n }).catch((error: unknown) => error)));
        expect(failed.map((error) => (error as TransportError).remote)).toEqual([
          { name: 'ApiError', code: 'InvalidInstanceID.NotFound', message: 'no such instance' },
          { name: 'DriverError', code: 'busy', message: 'the disk is busy' },
          { name: 'TransportError', code: 'timeout', message: 'no answer' },
        ]);
        expect(failed.every((error) => (error as TransportError).kind === 'remote')).toBe(true);
        expect(calls).toBe(3);
        expect(await api.deadLetters()).toEqual([]);
      });

      it('a bug in the handler of an ask is tried again; at the end the asker is told and the message is a dead letter', async () => {
        let calls = 0;
        await worker.serve(host1, compute, handlers({ double: ({ n }) => {
          calls += 1;
          if (n === 1 && calls === 3) return { n: 2 };
          throw new TypeError('a bug');
        } }));
        await expect(api.ask(host1, compute, 'double', { n: 1 })).resolves.toEqual({ n: 2 });
        calls = 10;
        await expect(api.ask(host1, compute, 'double', { n: 2 })).rejects.toMatchObject({ kind: 'remote', remote: { name: 'TypeError', message: 'a bug' } });
        expect(calls).toBe(15);
        expect(await api.deadLetters()).toEqual([expect.objectContaining({ reason: 'poison' })]);
      });

      it('what a process had in hand when it died comes again to another, and what it says afterwards is not heard', async () => {
        const held = gate();
        const seen: string[] = [];
        const asked = gate();
        await worker.serve(host1, compute, handlers({
          note: async ({ n }) => {
            seen.push(`first:${n}`);
            await held.opened;
          },
          double: async () => {
            asked.open();
            await held.opened;
            return { n: -1 };
          },
        }));
        await api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 1 });
        await api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 2 });
        const answer = api.ask(host1, compute, 'double', { n: 3 });
        await asked.opened;
        await until(() => seen.length === 1);
        await cloud.kill('worker');
        expect(await api.hosts('compute')).toEqual([]);
        held.open();
        const heir = await cloud.process('heir');
        await heir.serve(host1, compute, handlers({ note: ({ n }, { deliveries }) => void seen.push(`second:${n}:${deliveries}`) }));
        await expect(answer).resolves.toEqual({ n: 6 });
        await until(() => seen.length === 3);
        expect(seen).toEqual(['first:1', 'second:1:2', 'second:2:1']);
        await expect(worker.tell(host1, compute, 'mark', { n: 1 })).rejects.toMatchObject(refusal('closed'));
      });

      it('a message that kills its receivers is a dead letter in the end', async () => {
        for (let n = 1; n <= 3; n += 1) {
          const victim = await cloud.process(`victim-${n}`);
          const begun = gate();
          await victim.serve(host1, compute, handlers({ note: () => {
            begun.open();
            return new Promise<void>(() => undefined);
          } }), { deliveriesMax: 3 });
          if (n === 1) await api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 1 });
          await begun.opened;
          await cloud.kill(`victim-${n}`);
        }
        const seen: number[] = [];
        await worker.serve(host1, compute, handlers({ note: ({ n }) => void seen.push(n) }), { deliveriesMax: 3 });
        await api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 2 });
        await until(() => seen.length === 1);
        expect(seen).toEqual([2]);
        expect(await api.deadLetters()).toEqual([expect.objectContaining({ reason: 'poison' })]);
      });

      it('the dead letters say what was not understood', async () => {
        const other = protocol('compute', {
          strange: { doc: 'Not known to the receiver.', body: z.object({}), reply: z.object({}) },
          mark: { doc: 'Another shape.', body: z.object({ n: z.string() }) },
          double: { doc: 'Another answer.', body: z.object({ n: z.number() }), reply: z.object({ n: z.string() }) },
        });
        await worker.serve(host1, compute, handlers());
        await expect(api.ask(host1, other, 'strange', {})).rejects.toMatchObject(refusal('invalid'));
        await expect(api.ask(host1, other, 'double', { n: 1 })).rejects.toMatchObject(refusal('invalid'));
        await api.tell(host1, other, 'mark', { n: 'text' });
        await api.tell(host1, compute, 'mark', { n: 1 });
        await api.ask(host1, compute, 'double', { n: 1 });
        const reasons = (await api.deadLetters()).map(({ type, reason }) => `${type} ${reason}`);
        expect(reasons).toEqual(['compute.strange unknownType', 'compute.mark invalid']);
      });
    });

    describe('limits', () => {
      it('a full mailbox refuses tells and asks, and loses nothing it took', async () => {
        const held = gate();
        const seen: number[] = [];
        await worker.serve(host1, compute, handlers({ note: async ({ n }) => {
          await held.opened;
          seen.push(n);
        } }), { depthMax: 3, concurrencyMax: 1 });
        await api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 0 });
        await eventually(async () => (await api.depths()).some(({ mailbox, inHand }) => mailbox === 'compute@host1' && inHand === 1));
        for (let n = 1; n <= 3; n += 1) await api.tell(host1, compute, 'note', { instanceId: 'i-1', n });
        await expect(api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 4 })).rejects.toMatchObject(refusal('mailboxFull'));
        await expect(api.ask(host1, compute, 'double', { n: 4 })).rejects.toMatchObject(refusal('mailboxFull'));
        held.open();
        await until(() => seen.length === 4);
        await expect(api.ask(host1, compute, 'double', { n: 4 })).resolves.toEqual({ n: 8 });
        expect(seen).toEqual([0, 1, 2, 3]);
      });

      it('M2: an ask that nobody answers ends at its time, and is not executed afterwards', async () => {
        const asked: number[] = [];
        await api.depths(); // connected, so that the question is written in time
        const lateAt = Date.now() + 205;
        await expect(api.ask(host1, compute, 'double', { n: 1 }, { timeoutMs: 200 })).rejects.toMatchObject(refusal('timeout'));
        await until(() => Date.now() > lateAt); // a timer may be a little early, and the message is in time then
        await expect(api.ask(host1, compute, 'double', { n: 1 }, { timeoutMs: 0 })).rejects.toMatchObject(refusal('expired'));
        await worker.serve(host1, compute, handlers({ double: ({ n }) => ({ n: asked.push(n) }) }));
        await api.ask(host1, compute, 'double', { n: 2 });
        await until(() => asked.length === 1);
        expect(asked).toEqual([2]);
        expect(await api.deadLetters()).toEqual([expect.objectContaining({ type: 'compute.double', reason: 'expired' })]);
      });

      it('a tell past its deadline is a dead letter; one without never expires', async () => {
        const seen: number[] = [];
        await api.tell(host1, compute, 'mark', { n: 1 }, { timeoutMs: 1 });
        await api.tell(host1, compute, 'mark', { n: 2 });
        await new Promise((resolve) => { setTimeout(resolve, 10); });
        await worker.serve(host1, compute, handlers({ mark: ({ n }) => void seen.push(n) }));
        await until(() => seen.length === 1);
        await api.ask(host1, compute, 'double', { n: 1 });
        expect(seen).toEqual([2]);
        expect((await api.deadLetters()).map(({ reason }) => reason)).toEqual(['expired']);
      });
    });

    describe('directory and end', () => {
      it('M1: fan-out writes once to each host that serves the role', async () => {
        const seen: string[] = [];
        const other = await cloud.process('other');
        await worker.serve(host1, compute, handlers({ mark: ({ n }) => void seen.push(`host1:${n}`) }));
        const second = await other.serve(host2, compute, handlers({ mark: ({ n }) => void seen.push(`host2:${n}`) }));
        expect(await api.hosts('compute')).toEqual(['host1', 'host2']);
        expect(await api.hosts('network')).toEqual([]);
        expect(await api.fanOut('compute', compute, 'mark', { n: 1 })).toEqual(['host1', 'host2']);
        await until(() => seen.length === 2);
        await second.stop(1000);
        expect(await api.fanOut('compute', compute, 'mark', { n: 2 })).toEqual(['host1']);
        await until(() => seen.length === 3);
        expect(seen.toSorted()).toEqual(['host1:1', 'host1:2', 'host2:1']);
      });

      it('a subscription that stops finishes what is in hand and leaves the rest in the mailbox', async () => {
        const held = gate();
        const begun = gate();
        const seen: number[] = [];
        const subscription = await worker.serve(host1, compute, handlers({ note: async ({ n }) => {
          begun.open();
          await held.opened;
          seen.push(n);
        } }));
        for (let n = 0; n < 3; n += 1) await api.tell(host1, compute, 'note', { instanceId: 'i-1', n });
        await begun.opened;
        const stopped = subscription.stop(5000);
        held.open();
        await stopped;
        expect(seen).toEqual([0]);
        expect(await api.depths()).toContainEqual({ mailbox: 'compute@host1', waiting: 2, inHand: 0 });
        await worker.serve(host1, compute, handlers({ note: ({ n }) => void seen.push(n) }));
        await until(() => seen.length === 3);
        expect(seen).toEqual([0, 1, 2]);
      });

      it('what is still in hand at the deadline of a stop comes again', async () => {
        const begun = gate();
        const seen: number[] = [];
        const subscription = await worker.serve(host1, compute, handlers({ note: () => {
          begun.open();
          return new Promise<void>(() => undefined);
        } }));
        await api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 1 });
        await begun.opened;
        await subscription.stop(10);
        await worker.serve(host1, compute, handlers({ note: (_body, { deliveries }) => void seen.push(deliveries) }));
        await until(() => seen.length === 1);
        expect(seen).toEqual([2]);
      });

      it('closing rejects open asks and everything after it', async () => {
        const open = api.ask(host1, compute, 'double', { n: 1 });
        const rejected = expect(open).rejects.toMatchObject(refusal('closed'));
        await api.close();
        await rejected;
        await expect(api.tell(host1, compute, 'mark', { n: 1 })).rejects.toMatchObject(refusal('closed'));
        await expect(api.ask(host1, compute, 'double', { n: 1 })).rejects.toMatchObject(refusal('closed'));
        await expect(api.serve(host1, compute, handlers())).rejects.toMatchObject(refusal('closed'));
        await api.close();
      });
    });
  });
}
