// Lets the server plan a hot statement once for each connection: drizzle sends every statement as new text, which costs the server more than
// running it and a round trip besides. Only texts that come again and again are prepared, and only so many, for the server keeps them in
// memory for each connection.
import type postgres from 'postgres';

/** Uses before a text is worth preparing. */
const usesMin = 10;
const textsMax = 100;
/** Texts with long lists come in many lengths. */
const parametersMax = 32;
/** Texts that are counted; when there are more, counting begins anew. */
const countedMax = 2_000;

/** Which texts of a process are hot. */
export class HotTexts {
  readonly #uses = new Map<string, number>();
  readonly #hot = new Set<string>();

  /** Counts a use. True: it is to be prepared. */
  take(text: string, parameters: number): boolean {
    if (this.#hot.has(text)) return true;
    if (parameters === 0 || parameters > parametersMax || this.#hot.size >= textsMax) return false;
    if (this.#uses.size >= countedMax) this.#uses.clear();
    const uses = (this.#uses.get(text) ?? 0) + 1;
    this.#uses.set(text, uses);
    if (uses < usesMin) return false;
    this.#uses.delete(text);
    this.#hot.add(text);
    return true;
  }
}

type Begin = (...args: unknown[]) => unknown;

/** The same client, and the clients of its transactions, with their hot statements prepared. */
export function preparingHot<Client extends postgres.ISql>(client: Client, texts = new HotTexts()): Client {
  const { unsafe } = client;
  const prepared: typeof unsafe = (text, parameters = [], options) =>
    unsafe(text, parameters, texts.take(text, parameters.length) ? { ...options, prepare: true } : options);
  return Object.assign(client, { unsafe: prepared }, wrapped(client, 'begin', texts), wrapped(client, 'savepoint', texts));
}

/** `begin` and `savepoint` hand a client of their own to their last argument. */
function wrapped(client: object, name: 'begin' | 'savepoint', texts: HotTexts): Record<string, Begin> {
  const original = (client as Readonly<Record<string, unknown>>)[name];
  if (typeof original !== 'function') return {};
  return {
    [name]: (...args: unknown[]) => {
      const work = args.at(-1) as (inner: postgres.TransactionSql) => unknown;
      return Reflect.apply(original, client, [...args.slice(0, -1), (inner: postgres.TransactionSql) => work(preparingHot(inner, texts))]);
    },
  };
}
