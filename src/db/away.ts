// By what an error is known whose cause is that the database is not there: clients are told to try again, and roles wait.

/** Of postgres.js, of sockets, and of a server that starts, stops, is full, or was stopped by its own time limit. */
const databaseAwayCodes = new Set([
  'CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECT_TIMEOUT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT',
  '57P01', '57P02', '57P03', '53300', '57014',
]);

/** Is the cause that the database cannot be reached now, here or by another role that was asked? Repeating may help, and nobody made a mistake. */
export function isDatabaseAway(error: unknown): boolean {
  for (let current = error, depth = 0; current instanceof Error && depth < 5; current = current.cause, depth += 1) {
    const { code, syscall, remote } = current as NodeJS.ErrnoException & { remote?: { code?: string } };
    if (remote?.code === 'unavailable' || (remote?.code !== undefined && databaseAwayCodes.has(remote.code))) return true;
    if (code !== undefined && (databaseAwayCodes.has(code) || (code === 'ENOENT' && syscall === 'connect'))) return true;
  }
  return false;
}
