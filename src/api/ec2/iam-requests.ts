// What IAM's actions have in common: pages by MaxItems and Marker, and the refusal of temporary keys.
import type { Call } from './action.ts';

const itemsMax = 1_000;
const itemsUsual = 100;

export interface IamPage<Item> {
  readonly page: readonly Item[];
  readonly rest: { readonly IsTruncated: boolean; readonly Marker?: string };
}

interface Wish<Item> {
  readonly MaxItems?: number | undefined;
  readonly Marker?: string | undefined;
  /** Unique and lasting: the order, and what a marker names. */
  readonly key: (item: Item) => string;
}

/** The page that was asked for. A marker is the last key of the page before: what comes and goes meanwhile moves nothing. */
export function describeIam<Item>(call: Call<'ValidationError'>, items: readonly Item[], { MaxItems, Marker, key }: Wish<Item>): IamPage<Item> {
  const count = MaxItems ?? itemsUsual;
  if (count < 1 || count > itemsMax) {
    call.fail('ValidationError', `1 validation error detected: Value '${count}' at 'maxItems' failed to satisfy constraint: `
      + `Member must have value ${count < 1 ? 'greater than or equal to 1' : `less than or equal to ${itemsMax}`}`);
  }
  const after = Marker === undefined ? '' : readMarker(call, Marker);
  const sorted = items.filter((item) => key(item) > after).toSorted((left, right) => (key(left) < key(right) ? -1 : 1));
  const page = sorted.slice(0, count);
  const last = page.at(-1);
  if (sorted.length <= count || last === undefined) return { page, rest: { IsTruncated: false } };
  return { page, rest: { IsTruncated: true, Marker: Buffer.from(key(last), 'utf8').toString('base64url') } };
}

function readMarker(call: Call<'ValidationError'>, marker: string): string {
  const text = Buffer.from(marker, 'base64url').toString('utf8');
  if (text === '' || Buffer.from(text, 'utf8').toString('base64url') !== marker) call.fail('ValidationError', 'Invalid Marker.');
  return text;
}

/** AWS's rule for sessions without a second factor: they may use the cloud, but not change who may. */
export function refuseSession(call: Pick<Call<'InvalidClientTokenId'>, 'principal' | 'fail'>): void {
  if (call.principal.isTemporary) call.fail('InvalidClientTokenId', 'The security token included in the request is invalid.');
}
