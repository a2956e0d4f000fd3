// Statements that hot paths run: built once for each handle, for building one takes longer than sending it.
import type { Queryable } from './db.ts';

export function builtOnce<Statement>(build: (db: Queryable) => Statement): (db: Queryable) => Statement {
  const built = new WeakMap<Queryable, Statement>();
  return (db) => {
    const statement = built.get(db) ?? build(db);
    built.set(db, statement);
    return statement;
  };
}
