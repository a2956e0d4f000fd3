// Calls of node's file system as promises, without the handles of `node:fs/promises`, which cost several times what the call does with a few KiB.
import { open, read } from 'node:fs';

type Failure = NodeJS.ErrnoException | null;

export const called = (call: (done: (error: Failure) => void) => void): Promise<void> =>
  new Promise((resolve, reject) => call((error) => (error === null ? resolve() : reject(error))));

/** With the number that it is told: a file that is open, or how many bytes. */
export const counted = (call: (done: (error: Failure, count: number) => void) => void): Promise<number> =>
  new Promise((resolve, reject) => call((error, count) => (error === null ? resolve(count) : reject(error))));

export const opened = (path: string, flags: number | string = 'r', mode?: number): Promise<number> => counted((done) => open(path, flags, mode, done));

/** How many bytes there were from that place on, of so many: none at the end. */
export const readAt = (fd: number, into: Buffer, { length, at }: { length: number; at: number }): Promise<number> =>
  counted((done) => read(fd, into, 0, length, at, done));
