// Where settings come from, in which order, and how a mistake is named.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSettings, type LoadInput } from '../../../src/config/load.ts';
import { environmentKey, fileKey, flagName, optionNames, optionOf } from '../../../src/config/options.ts';

const around = { isRoot: true, home: '/root', hostname: 'host1', installation: '/opt/novact' };
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'novact-config-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const load = (input: Partial<LoadInput> = {}) => loadSettings({ environment: {}, directory, around, ...input });
const write = (name: string, text: string) => writeFileSync(join(directory, name), text);

describe('settings', () => {
  it('have defaults that depend on who runs them', () => {
    expect(load().settings).toMatchObject({ state: '/var/lib/novact', bind: '127.0.0.1', apiPort: 8773, s3Port: 3333, host: 'host1', zone: 'nova' });
    expect(load({ around: { ...around, isRoot: false, home: '/home/joe' } }).settings.state).toBe('/home/joe/.local/share/novact');
    expect(load().settings.databaseUrl).toBeUndefined();
  });

  it('are taken from the file, .env, the environment and flags, the later ones winning', () => {
    write('novact.toml', 'zone = "file"\nregion = "file"\nhost = "file"\nbridge = "file"\n');
    write('.env', 'NOVACT_REGION=dotenv\nNOVACT_HOST=dotenv\nNOVACT_BRIDGE=dotenv\n');
    const { settings, origins } = load({ environment: { NOVACT_HOST: 'variable', NOVACT_BRIDGE: 'variable' }, flags: { bridge: 'flag' } });
    expect([settings.zone, settings.region, settings.host, settings.bridge]).toEqual(['file', 'dotenv', 'variable', 'flag']);
    expect([origins.zone.place, origins.region.place, origins.host.place, origins.bridge.place, origins.mtu.place]).toEqual([
      join(directory, 'novact.toml:1'), join(directory, '.env:1'), 'NOVACT_HOST', '--bridge', 'default',
    ]);
  });

  it('take numbers as text, and an empty variable as unset', () => {
    expect(load({ environment: { NOVACT_API_PORT: '9000', NOVACT_S3_PORT: '' } }).settings).toMatchObject({ apiPort: 9000, s3Port: 3333 });
  });

  it('make paths absolute from where they are written', () => {
    expect(load({ environment: { NOVACT_STATE: 'here', NOVACT_DATABASE_URL: 'pglite:db' } }).settings).toMatchObject({
      state: join(directory, 'here'), databaseUrl: `pglite:${join(directory, 'db')}`,
    });
  });

  it.each([
    ['text that is not TOML', 'zone = "a"\nregion =\n', ':2: this is not TOML'],
    ['a torn file', 'zone = "a"\nregion = "no', ':2: this is not TOML'],
    ['an unknown key', '\nregoin = "a"\n', ':2: there is no setting regoin; did you mean region?'],
    ['a table', '[api]\nport = 1\n', ':1: there is no setting api'],
    ['a wrong type', 'api_port = true\n', ':1: api_port must be text or a number'],
    ['a wrong value', 'zone = "a"\napi_port = "many"\n', ':2: api_port = "many": a whole number from 1 to 65535 is needed'],
    ['a wrong word', 'scheduler = "best"\n', ':1: scheduler = "best": one of chance, simple is needed'],
    ['a range with host bits', 'fixed_range = "10.0.0.1/24"\n', ':1: fixed_range'],
  ])('name file, line and key of %s', (_, text, message) => {
    write('novact.toml', text);
    const named = expect.stringContaining(`${join(directory, 'novact.toml')}${message}`);
    expect(() => load()).toThrow(expect.objectContaining({ name: 'SetupError', message: named }));
  });

  it('refuse an unknown key in .env, and only mention an unknown variable', () => {
    write('.env', 'OTHER=1\nNOVACT_ZOEN=a\n');
    expect(() => load()).toThrow(/\.env:2: there is no setting NOVACT_ZOEN; did you mean NOVACT_ZONE\?/);
    rmSync(join(directory, '.env'));
    expect(load({ environment: { NOVACT_ZOEN: 'a', NOVACT_SPEC_DATABASE_URL: 'x' } }).notices).toEqual([
      'NOVACT_ZOEN is set, but there is no such setting; did you mean NOVACT_ZONE?',
    ]);
  });

  it('refuse two servers on one port, naming both', () => {
    const both = { environment: { NOVACT_API_PORT: '3333' } };
    expect(() => load(both)).toThrow(/NOVACT_API_PORT \(NOVACT_API_PORT\) and NOVACT_S3_PORT \(default\) are both 3333/);
  });

  it('refuse a named file that is not there', () => {
    expect(() => load({ configFile: 'none.toml' })).toThrow(/there is no configuration file/);
  });

  it('never repeat a secret in a mistake', () => {
    const environment = { NOVACT_DATABASE_URL: 'mysql://joe:hidden@db' };
    expect(() => load({ environment })).toThrow(expect.not.objectContaining({ message: expect.stringContaining('hidden') }));
  });
});

describe('the options table', () => {
  it('gives every option a text and three different names', () => {
    for (const name of optionNames) expect(optionOf(name).text.length, name).toBeGreaterThan(10);
    for (const of of [fileKey, environmentKey, flagName]) expect(new Set(optionNames.map(of)).size).toBe(optionNames.length);
  });

  it('keeps the names that the design promises', () => {
    const promised = [
      'STATE', 'BIND', 'API_PORT', 'S3_PORT', 'METADATA_PORT', 'DASHBOARD_PORT', 'OPS_PORT', 'DATABASE_URL', 'REDIS_URL', 'HOST', 'ZONE', 'REGION',
      'HYPERVISOR', 'LIBVIRT_URI', 'NETWORK_MANAGER', 'AUTH_DRIVER', 'SCHEDULER',
    ];
    expect(optionNames.map(environmentKey)).toEqual(expect.arrayContaining(promised.map((name) => `NOVACT_${name}`)));
  });

  it('has defaults of its own types', () => {
    for (const name of optionNames) {
      const { default: byDefault, type } = optionOf(name);
      if (byDefault !== undefined) expect(type.safeParse(byDefault(around)).success, name).toBe(true);
    }
  });
});
