import type postgres from 'postgres';
import { expect, it } from 'vitest';
import { HotTexts, preparingHot } from '../../../src/db/prepared.ts';

it('prepares a text that comes again and again, and no text without parameters or with very many', () => {
  const texts = new HotTexts();
  const uses = (text: string, parameters: number) => Array.from({ length: 12 }, () => texts.take(text, parameters)).filter(Boolean).length;
  expect([uses('one', 2), uses('begin', 0), uses('long list', 500)]).toEqual([3, 0, 0]);
});

it('prepares no more than a hundred texts', () => {
  const texts = new HotTexts();
  for (let text = 0; text < 300; text += 1) for (let use = 0; use < 10; use += 1) texts.take(`text ${text}`, 1);
  expect(Array.from({ length: 300 }, (_, text) => texts.take(`text ${text}`, 1)).filter(Boolean)).toHaveLength(100);
});

it('reaches into transactions and savepoints', async () => {
  const asked: unknown[] = [];
  const clientOf = (): object => ({
    unsafe: (text: string, _parameters: unknown[], options?: object) => void asked.push([text, options]),
    begin: (work: (inner: object) => unknown) => work(clientOf()),
    savepoint: (work: (inner: object) => unknown) => work(clientOf()),
  });
  const texts = new HotTexts();
  for (let use = 0; use < 10; use += 1) texts.take('hot', 1);
  const client = preparingHot(clientOf() as postgres.Sql, texts);
  await client.begin((tx) => {
    void tx.unsafe('hot', [1]);
    return tx.savepoint((inner) => void inner.unsafe('hot', [1]));
  });
  void client.unsafe('cold', [1]);
  expect(asked).toEqual([['hot', { prepare: true }], ['hot', { prepare: true }], ['cold', undefined]]);
});
