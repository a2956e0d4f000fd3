// A secret on its way through the program: whoever prints, logs or stores the object that holds it gets a mark in its place. Only a call
// that is easy to search for gives the text.
import { inspect } from 'node:util';

const mark = '[secret]';

export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself, for the one place that needs it. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return mark;
  }

  toJSON(): string {
    return mark;
  }

  [inspect.custom](): string {
    return mark;
  }
}
