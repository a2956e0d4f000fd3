// The forms of time that signed requests carry, read strictly: V8's own parser takes almost anything for a date.
// Instants are milliseconds since the epoch.

/** How far a request's time may be from ours, either way. */
export const clockWindowMs = 15 * 60_000;

const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/** `20261122T140754Z`. */
export function parseAmzDate(text: string): number | undefined {
  const fields = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(text)?.slice(1).map(Number);
  return fields === undefined ? undefined : instantOf(fields);
}

/** As `formatAmzDate` writes it, of one that was read: a leap second is the next one there. */
export const isAmzDate = (text: string): boolean => /^\d{8}T\d{6}Z$/.test(text) && !text.endsWith('60Z');

/** `Sun, 22 Nov 2026 13:43:53 GMT`, also with `-0000`, `+0100` or `UTC`. */
export function parseHttpDate(text: string): number | undefined {
  const match = /^(?:[A-Za-z]{3,9},?\s+)?(\d{1,2})[ -]([A-Za-z]{3})[ -](\d{4})\s+(\d{2}):(\d{2}):(\d{2})\s+(GMT|UTC|Z|[+-]\d{4})$/.exec(text.trim());
  if (match === null) return undefined;
  const [, day, monthName = '', year, hour, minute, second, zone = ''] = match;
  const month = months.indexOf(monthName.toLowerCase()) + 1;
  const instant = instantOf([year, month, day, hour, minute, second].map(Number));
  return instant === undefined ? undefined : instant - zoneOffsetMs(zone);
}

/** `2026-11-22T14:07:54Z`, with or without a fraction; without a zone it is UTC, as old boto means it. */
export function parseIsoDate(text: string): number | undefined {
  const match = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?(Z|[+-]\d{2}:?\d{2})?$/.exec(text);
  if (match === null) return undefined;
  const instant = instantOf(match.slice(1, 7).map(Number));
  if (instant === undefined) return undefined;
  return instant + Math.trunc(Number(match[7] ?? 0) * 1000) - zoneOffsetMs(match[8] ?? 'Z');
}

/** The reverse of parseAmzDate; milliseconds are dropped. */
export function formatAmzDate(instant: number): string {
  return new Date(instant).toISOString().replaceAll(/[-:]|\.\d{3}/g, '');
}

/** Undefined for a day or hour that does not exist. */
function instantOf(fields: readonly number[]): number | undefined {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = fields;
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60) return undefined;
  const daysOfMonth = (Date.UTC(year, month, 1) - Date.UTC(year, month - 1, 1)) / 86_400_000;
  return day > daysOfMonth ? undefined : Date.UTC(year, month - 1, day, hour, minute, second);
}

function zoneOffsetMs(zone: string): number {
  const match = /^([+-])(\d{2}):?(\d{2})$/.exec(zone);
  if (match === null) return 0;
  const minutes = Number(match[2]) * 60 + Number(match[3]);
  return (match[1] === '-' ? -minutes : minutes) * 60_000;
}
