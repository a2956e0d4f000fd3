// Column kinds that drizzle does not have.
import { customType, timestamp } from 'drizzle-orm/pg-core';

/** Text that sorts and compares by its UTF-8 bytes, whatever the database's locale: S3's order. */
export const binaryText = customType<{ data: string }>({ dataType: () => 'text COLLATE "C"' });

/** An instant, as a Date, to the millisecond. */
export const instant = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' });
