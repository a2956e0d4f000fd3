// A turn of an actor that is no message: its start, or a failure that a child passed on.

/** Travels where nact carries a sender. */
export class Control {
  readonly kind = 'control';
  readonly run: () => void | Promise<void>;

  constructor(run: () => void | Promise<void>) {
    this.run = run;
  }
}
