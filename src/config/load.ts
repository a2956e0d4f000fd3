// Reads the settings: defaults ← novact.toml ← .env ← NOVACT_* ← flags. Every value remembers where it came from, and a mistake is
// named with its file, key and line before anything is started.
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { parse as parseToml, TomlError } from 'smol-toml';
import { messageOf, SetupError } from '../lib/errors.ts';
import { environmentKey, fileKey, flagName, optionNames, optionOf, type OptionName, type Surroundings } from './options.ts';
import type { Settings } from './settings.ts';

export type OriginKind = 'default' | 'file' | 'dotenv' | 'environment' | 'flag';

export interface Origin {
  readonly kind: OriginKind;
  /** For people: `default`, `/etc/novact/novact.toml:3`, `.env:1`, `NOVACT_ZONE`, `--zone`. */
  readonly place: string;
}

export interface LoadInput {
  /** As typed, by option name. */
  readonly flags?: Readonly<Partial<Record<OptionName, string>>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where .env and novact.toml are looked for. */
  readonly directory: string;
  /** `--config`: must exist when given. */
  readonly configFile?: string | undefined;
  readonly around: Surroundings;
}

export interface LoadedSettings {
  readonly settings: Settings;
  readonly origins: Readonly<Record<OptionName, Origin>>;
  /** What looks like a mistake but stops nothing. */
  readonly notices: readonly string[];
}

interface Candidate {
  readonly value: unknown;
  readonly origin: Origin;
  /** What relative paths are relative to. */
  readonly base: string;
}

type Candidates = Partial<Record<OptionName, Candidate>>;

/** Variables that begin like settings and are none. */
const otherVariables = /^NOVACT_(CONFIG$|SUPERVISED$|SPEC_|TINY_MAPPED$)/;

/** Throws SetupError for the first mistake. */
export function loadSettings(input: LoadInput): LoadedSettings {
  const notices: string[] = [];
  const candidates: Candidates = {
    ...fromFile(input),
    ...fromDotenv(input),
    ...fromEnvironment(input, notices),
    ...fromFlags(input),
  };
  const values: Record<string, unknown> = {};
  const origins = {} as Record<OptionName, Origin>;
  for (const optionName of optionNames) {
    const candidate = candidates[optionName];
    const option = optionOf(optionName);
    origins[optionName] = candidate?.origin ?? { kind: 'default', place: 'default' };
    values[optionName] = candidate === undefined ? option.default?.(input.around) : checked(optionName, candidate);
  }
  const settings = values as unknown as Settings;
  checkTogether(settings, origins);
  return { settings, origins, notices };
}

function fromFile(input: LoadInput): Candidates {
  const given = input.configFile ?? input.environment['NOVACT_CONFIG'];
  const places = given === undefined ? [join(input.directory, 'novact.toml'), '/etc/novact/novact.toml'] : [resolve(input.directory, given)];
  for (const path of places) {
    const text = textOf(path);
    if (text !== undefined) return fromToml(path, text);
  }
  if (given === undefined) return {};
  throw new SetupError(`there is no configuration file ${places[0]}`, 'Name an existing file, or leave out --config and NOVACT_CONFIG.');
}

function fromToml(path: string, text: string): Candidates {
  const keys = new Map(optionNames.map((optionName) => [fileKey(optionName), optionName]));
  const found: Candidates = {};
  for (const [key, value] of Object.entries(parsedToml(path, text))) {
    const place = `${path}:${lineOf(text, key)}`;
    const optionName = keys.get(key);
    if (optionName === undefined) throw unknownKey(place, key, [...keys.keys()]);
    if (typeof value !== 'string' && typeof value !== 'number') throw new SetupError(`${place}: ${key} must be text or a number`, remedyOf(optionName));
    found[optionName] = { value, origin: { kind: 'file', place }, base: dirname(path) };
  }
  return found;
}

function parsedToml(path: string, text: string): Record<string, unknown> {
  try {
    return parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = messageOf(error).split('\n')[0]?.replace('Invalid TOML document: ', '');
    throw new SetupError(`${path}:${error.line}: this is not TOML: ${what}`, 'Mend that line; a setting looks like: zone = "nova"', { cause: error });
  }
}

function fromDotenv(input: LoadInput): Candidates {
  const path = join(input.directory, '.env');
  const text = textOf(path);
  if (text === undefined) return {};
  const keys = new Map(optionNames.map((optionName) => [environmentKey(optionName), optionName]));
  const found: Candidates = {};
  for (const [key, value] of Object.entries(parseEnv(text))) {
    if (!key.startsWith('NOVACT_') || otherVariables.test(key) || value === '' || value === undefined) continue;
    const place = `${path}:${lineOf(text, key)}`;
    const optionName = keys.get(key);
    if (optionName === undefined) throw unknownKey(place, key, [...keys.keys()]);
    found[optionName] = { value, origin: { kind: 'dotenv', place }, base: input.directory };
  }
  return found;
}

/** An unknown variable may be meant for another version of novact on this machine, so it is only told. */
function fromEnvironment(input: LoadInput, notices: string[]): Candidates {
  const found: Candidates = {};
  const keys = new Map(optionNames.map((optionName) => [environmentKey(optionName), optionName]));
  for (const [key, value] of Object.entries(input.environment)) {
    if (!key.startsWith('NOVACT_') || otherVariables.test(key) || value === undefined || value === '') continue;
    const optionName = keys.get(key);
    if (optionName === undefined) notices.push(`${key} is set, but there is no such setting${suggestion(key, [...keys.keys()])}`);
    else found[optionName] = { value, origin: { kind: 'environment', place: key }, base: input.directory };
  }
  return found;
}

function fromFlags(input: LoadInput): Candidates {
  const found: Candidates = {};
  for (const optionName of optionNames) {
    const value = input.flags?.[optionName];
    if (value !== undefined) found[optionName] = { value, origin: { kind: 'flag', place: flagName(optionName) }, base: input.directory };
  }
  return found;
}

function checked(optionName: OptionName, candidate: Candidate): unknown {
  const result = optionOf(optionName).type.safeParse(candidate.value);
  if (!result.success) {
    const shown = optionOf(optionName).secret ? '' : ` = ${JSON.stringify(candidate.value)}`;
    const key = candidate.origin.kind === 'file' ? `${fileKey(optionName)}` : environmentKey(optionName);
    throw new SetupError(`${candidate.origin.place}: ${key}${shown}: ${result.error.issues[0]?.message ?? 'not valid'}`, remedyOf(optionName));
  }
  return absolute(optionName, result.data, candidate.base);
}

const pathOptions: ReadonlySet<OptionName> = new Set<OptionName>(['state', 'tinyImage', 'libvirtSocket', 'redisCa', 'ldapCa', 'masterKey']);

function absolute(optionName: OptionName, value: unknown, base: string): unknown {
  if (typeof value !== 'string') return value;
  if (pathOptions.has(optionName)) return resolve(base, value);
  if (optionName !== 'databaseUrl' || !value.startsWith('pglite:') || value === 'pglite:memory') return value;
  return `pglite:${resolve(base, value.slice('pglite:'.length))}`;
}

function checkTogether(settings: Settings, origins: Record<OptionName, Origin>): void {
  const ports: readonly OptionName[] = ['apiPort', 's3Port', 'metadataPort', 'dashboardPort', 'opsPort'];
  const seen = new Map<unknown, OptionName>();
  for (const optionName of ports) {
    const port = settings[optionName];
    const other = seen.get(port);
    if (other !== undefined) {
      const places = `${environmentKey(other)} (${origins[other].place}) and ${environmentKey(optionName)} (${origins[optionName].place})`;
      throw new SetupError(`${places} are both ${String(port)}`, 'Give each server a port of its own.');
    }
    seen.set(port, optionName);
  }
}

const remedyOf = (optionName: OptionName): string => `${environmentKey(optionName)}: ${optionOf(optionName).text}`;

function unknownKey(place: string, key: string, known: readonly string[]): SetupError {
  return new SetupError(`${place}: there is no setting ${key}${suggestion(key, known)}`, '`novact config show` lists all settings.');
}

function suggestion(key: string, known: readonly string[]): string {
  const [best] = known.map((name) => ({ name, distance: distance(key, name) })).toSorted((left, right) => left.distance - right.distance);
  return best !== undefined && best.distance <= 3 ? `; did you mean ${best.name}?` : '';
}

/** Levenshtein's, one row at a time. */
function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= right.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}

function lineOf(text: string, key: string): number {
  const literal = key.replaceAll(/[^A-Za-z0-9_]/g, '\\$&');
  const index = text.split('\n').findIndex((line) => new RegExp(`^\\s*(export\\s+)?["'[]*${literal}["'\\]]*\\s*(=|\\.|$)`).test(line));
  return index < 0 ? 1 : index + 1;
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new SetupError(`cannot read ${path}: ${messageOf(error)}`, 'Make it readable, or remove it.', { cause: error });
  }
}
