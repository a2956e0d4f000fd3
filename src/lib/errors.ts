// The three kinds of expected failure. Anything that is none of these is a bug: it escapes, the actor
// dies, its supervisor decides, and the client sees InternalError with the request id.

/** A failure meant for the client, in AWS's own vocabulary. `status` is the HTTP status, where the service's catalogue does not fix it. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: string;
  readonly status: number | undefined;

  constructor(code: string, message: string, status?: number) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export type DriverErrorKind = 'notFound' | 'busy' | 'unsupported' | 'failed' | 'timeout';

/** A failure of something outside the process. The message says what was attempted, on what; `output` keeps what the command printed. */
export class DriverError extends Error {
  override readonly name = 'DriverError';
  readonly kind: DriverErrorKind;
  readonly output: string | undefined;

  constructor(kind: DriverErrorKind, message: string, options: { cause?: unknown; output?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.output = options.output;
  }
}

/** A mistake in how novact was set up or called; `remedy` is what the operator can do about it. Ends a command with exit code 2. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
  readonly remedy: string;

  constructor(message: string, remedy: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.remedy = remedy;
  }
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
