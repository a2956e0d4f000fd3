// Whole rows as JSON: reading some twenty columns one by one costs several times as much as one text.
import { getTableColumns, sql, type Column, type SQL, type Table } from 'drizzle-orm';

export interface RowAsJson<Row> {
  /** An array of the row's values; the table is there by the alias. */
  readonly json: SQL;
  /** Of what `json` has become. */
  readonly read: (values: readonly unknown[]) => Row;
}

export function rowAsJson<Row>(table: Table, alias: string): RowAsJson<Row> {
  const columns = Object.entries<Column>(getTableColumns(table));
  const name = sql.identifier(alias);
  const values = sql.join(columns.map(([, column]) => sql`${name}.${sql.identifier(column.name)}`), sql`, `);
  return {
    json: sql`json_build_array(${values})`,
    read(given) {
      const row: Record<string, unknown> = {};
      given.forEach((value, index) => {
        const [field, column] = columns[index] ?? [];
        if (field !== undefined && column !== undefined) row[field] = value === null ? null : column.mapFromDriverValue(value);
      });
      return row as Row;
    },
  };
}
