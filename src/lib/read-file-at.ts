// Bytes of a file in three calls of the system, without the handles and streams of node, which cost several times what a small file does.
import { closeSync, open, read } from 'node:fs';

/** Fills the buffer from that place on. Rejects when the file ends before. */
export function readFileAt(path: string, into: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    open(path, 'r', (failure, fd) => {
      if (failure !== null) return reject(failure);
      const finish = (error?: Error) => {
        closeSync(fd); // does not wait: nothing was written
        if (error === undefined) resolve();
        else reject(error);
      };
      const more = (done: number) => read(fd, into, done, into.length - done, position + done, (error, length) => {
        if (error !== null) finish(error);
        else if (length === 0) finish(new Error(`the file ends before byte ${position + into.length}`));
        else if (done + length < into.length) more(done + length);
        else finish();
      });
      more(0);
    });
  });
}
