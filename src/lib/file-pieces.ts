// A file, or a part of it, piece by piece through memory that is used again: node's streams allocate each piece anew, and of a server under load the
// most would be garbage.
import { closeSync } from 'node:fs';
import { opened, readAt } from './file-calls.ts';

const pieceBytes = 256 * 1024;
/** Kept for the next file. */
const idleMax = 8;
const idle: Buffer[] = [];

export interface FilePieces {
  /** In order; closes the file in any case. A piece is good until `write` has resolved. Rejects with `write`, or when the file ends early. */
  copyTo(write: (piece: Buffer) => Promise<void>): Promise<void>;
}

/** Opened already: what is renamed or removed meanwhile is still there to its end. */
export async function openPieces(path: string, range: { first: number; last: number }): Promise<FilePieces> {
  const fd = await opened(path);
  return {
    async copyTo(write) {
      const buffer = idle.pop() ?? Buffer.allocUnsafeSlow(pieceBytes);
      try {
        for (let at = range.first; at <= range.last; ) {
          const length = await readAt(fd, buffer, { length: Math.min(buffer.length, range.last + 1 - at), at });
          if (length === 0) throw new Error(`the file ends before byte ${range.last}`);
          await write(buffer.subarray(0, length));
          at += length;
        }
        // Of a write that failed nobody knows whether it still reads it.
        if (idle.length < idleMax) idle.push(buffer);
      } finally {
        closeSync(fd); // does not wait: nothing was written
      }
    },
  };
}
