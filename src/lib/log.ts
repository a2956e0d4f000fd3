// Structured logs (JSON lines on stderr or to a file). Redaction is by key and is tested: secrets never reach a log.
import { pino, type Logger } from 'pino';

export type Log = Logger;

const secretKeys = [
  'secret', 'secretKey', 'secretAccessKey', 'password', 'authorization', 'Authorization', 'signature', 'Signature',
  'keyMaterial', 'userData', 'token', 'x-amz-security-token', 'x-aws-ec2-metadata-token',
];

export interface LogOptions {
  readonly level: string;
  /** A file to append to; standard error when absent. */
  readonly file?: string;
}

export function createLog(options: LogOptions): Log {
  const destination = pino.destination(
    options.file === undefined ? { dest: 2, sync: true } : { dest: options.file, mkdir: true, sync: false },
  );
  return pino(
    {
      level: options.level,
      base: {},
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: secretKeys.flatMap((key) => [quote(key), `*${quote(key)}`, `*.*${quote(key)}`]), censor: '[redacted]' },
    },
    destination,
  );
}

export const silentLog: Log = pino({ level: 'silent' });

const quote = (key: string): string => `["${key}"]`;
