// postgres.js 3.4.9 (porsager/postgres, issues 1066, 1154 and 1208; pull requests 1168 and 1209, neither of them merged) forgets what a connection was
// about to do when it closes. A transaction that then rolls back writes to a socket that is gone, in a timer, where nobody can catch it: the process
// ends. And what was written in the moment of the end (a server that dies closes all connections at once) stays in its buffer, with a timer that never
// fires: the next connection in that place says nothing until its time-out. Until a release mends it, the build does; spec/services/postgres-patch.

const patches = [
  // A statement on a connection that has closed fails, as those did that were under way; true: the connection stays where it is, to be opened again.
  ['    if (stream)\n      return queryError(q, ', `    if (socket === null) {
      queryError(q, Errors.connection('CONNECTION_CLOSED', options))
      return true
    }

    if (stream)\n      return queryError(q, `],
  // What a connection did not send dies with it.
  ['    incomings = null\n    clearImmediate(nextWriteTimer)\n', '    incomings = null\n    clearImmediate(nextWriteTimer)\n    chunk = nextWriteTimer = null\n'],
];

/** The text of postgres/src/connection.js, mended. Throws when it is not the text that is known: look then whether the release has mended it itself. */
export function patchedConnection(text) {
  return patches.reduce((patched, [before, after]) => {
    if (patched.split(before).length !== 2) throw new Error(`postgres/src/connection.js has changed; see ${import.meta.url}`);
    return patched.replace(before, () => after);
  }, text);
}
