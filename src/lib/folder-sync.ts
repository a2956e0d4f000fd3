// The names in a folder made durable for many at once: one wait for the disk serves everybody whose file was in the folder before it began.
import { closeSync, fsync } from 'node:fs';
import { called, opened } from './file-calls.ts';

/** Waits for the disk. */
export type WaitForFolder = (fd: number) => Promise<void>;

export class FolderSync {
  readonly #path: string;
  readonly #wait: WaitForFolder;
  /** Those who come before it begins. */
  #next: Waiting | undefined;
  #isWaiting = false;

  constructor(path: string, wait: WaitForFolder = fsynced) {
    this.#path = path;
    this.#wait = wait;
  }

  /** Resolves when what was made, linked or renamed in the folder before the call survives a power cut. */
  sync(): Promise<void> {
    this.#next ??= waiting();
    const { done } = this.#next;
    if (!this.#isWaiting) void this.#work();
    return done;
  }

  /** As long as somebody waits: the folder is opened once for all of them. */
  async #work(): Promise<void> {
    this.#isWaiting = true;
    let fd: number | undefined;
    for (let those = this.#next; those !== undefined; those = this.#next) {
      try {
        fd ??= await opened(this.#path);
        this.#next = undefined; // who comes from now on may have come after the wait has begun
        await this.#wait(fd);
        those.resolve();
      } catch (error) {
        if (this.#next === those) this.#next = undefined;
        those.reject(error);
      }
    }
    this.#isWaiting = false;
    if (fd !== undefined) closeSync(fd);
  }
}

interface Waiting {
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

function waiting(): Waiting {
  let [resolve, reject]: [Waiting['resolve'], Waiting['reject']] = [() => undefined, () => undefined];
  const done = new Promise<void>((...both) => { [resolve, reject] = both; });
  return { done, resolve, reject };
}

const fsynced: WaitForFolder = (fd) => called((done) => fsync(fd, done));
