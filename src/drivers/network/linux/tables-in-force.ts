// Novact's own tables in one network namespace: what is wanted is compared with what is known to be in force, and only what differs is written, in one
// transaction. What somebody else did to them is found at the next look, and put right; the tables of others are never named.
import { createHash } from 'node:crypto';
import { messageOf } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';
import { renderDifference, renderTables, type Table } from './ruleset.ts';
import { lastTransaction, transact } from './transaction.ts';

export interface TablesInForce {
  /**
   * After: they are in force. Returns whether something had to be done for that. `onUnknown` is waited for before tables are replaced of which
   * nobody knows what they held.
   */
  ensure(wanted: readonly Table[], onUnknown?: () => Promise<void>): Promise<boolean>;
  /** Nothing is known of them any more. */
  forget(): void;
}

interface Known {
  readonly tables: readonly Table[];
  /** The last transaction of whomever after which they were so. Undefined: others came between. */
  readonly transaction: number | undefined;
  /** What nft prints of them, to compare when others have changed something since. Undefined: nobody has looked yet. */
  readonly listed?: string | undefined;
}

export function createTablesInForce({ run, log }: { readonly run: Run; readonly log: Log }): TablesInForce {
  let known: Known | undefined;

  async function list(tables: readonly Table[]): Promise<string | undefined> {
    const lists = await Promise.all(tables.map(({ family, name }) => run('nft', ['-s', 'list', 'table', family, name], { okCodes: [0, 1] })));
    if (lists.some(({ code }) => code !== 0)) return undefined;
    return createHash('sha256').update(lists.map(({ stdout }) => stdout).join('')).digest('hex');
  }

  /** What is known, as of now. Undefined: it does not hold any more. Tables are read once after each change of ours, and of others. */
  async function confirmed(before: Known): Promise<Known | undefined> {
    const transaction = await lastTransaction(run);
    const isLast = transaction !== undefined && transaction === before.transaction;
    if (isLast && before.listed !== undefined) return before;
    const listed = await list(before.tables);
    const isSame = listed !== undefined && (isLast || listed === before.listed);
    if (isSame) return { ...before, listed, transaction: (await lastTransaction(run)) === transaction ? transaction : undefined };
    if (before.listed !== undefined) log.warn({}, "novact's firewall rules were changed by somebody else; putting them back");
    return undefined;
  }

  /** Undefined: what is in force is not known for sure, or nothing was done. */
  async function change(from: Known, to: readonly Table[]): Promise<Known | undefined> {
    const text = renderDifference(from.tables, to);
    if (text === undefined || from.transaction === undefined) return undefined;
    try {
      const transaction = await transact(run, text, from.transaction);
      if (typeof transaction === 'number') return { tables: to, transaction };
      const now = transaction === 'stale' && from.listed !== undefined ? await confirmed(from) : undefined;
      return now === undefined ? undefined : await change({ ...now, listed: undefined }, to);
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'firewall rules could not be changed in part; all are replaced');
      return undefined;
    }
  }

  async function replace(tables: readonly Table[], onUnknown: (() => Promise<void>) | undefined): Promise<Known> {
    await onUnknown?.();
    const transaction = await transact(run, renderTables(tables));
    return { tables, transaction: typeof transaction === 'number' ? transaction : undefined };
  }

  return {
    async ensure(wanted, onUnknown) {
      const before = known;
      // Until it is done, and should it fail.
      known = undefined;
      const isWanted = before !== undefined && renderDifference(before.tables, wanted) === '';
      const same = isWanted ? await confirmed(before) : undefined;
      const changed = isWanted || before === undefined ? undefined : await change(before, wanted);
      known = same ?? changed ?? (await replace(wanted, onUnknown));
      return same === undefined;
    },
    forget() {
      known = undefined;
    },
  };
}
