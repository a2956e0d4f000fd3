// The resolved settings that every role is started with, and the places in the state folder that follow from them.
import { join } from 'node:path';
import type { Option, options } from './options.ts';

/** One value for each line of the options table, checked and with defaults filled in. */
export type Settings = {
  readonly [Name in keyof typeof options]: (typeof options)[Name] extends Option<infer T> ? T : never;
};

/** Where things lie in the state folder. Nothing else names a file there. */
export interface StatePaths {
  readonly novarc: string;
  readonly s3cfg: string;
  /** The lock of the one process that owns the state folder. */
  readonly lock: string;
  /** What `novact status` shows to the ops server: only the owner of the state folder can read it. */
  readonly opsToken: string;
  /** The key under which secrets in the database are sealed. */
  readonly masterKey: string;
  readonly postgres: string;
  readonly pglite: string;
  readonly objects: string;
  readonly images: string;
  readonly instances: string;
  readonly networks: string;
  /** Whether a probe guest booted under KVM, so that it need not be tried at every start. */
  readonly kvmProbe: string;
  /** What the last `up` was started with: `down --purge` removes what that made, whatever its flags were. */
  readonly lastSettings: string;
  readonly log: string;
}

export function statePaths(settings: Pick<Settings, 'state'>): StatePaths {
  const at = (name: string) => join(settings.state, name);
  return {
    novarc: at('novarc'),
    s3cfg: at('s3cfg'),
    lock: at('novact.lock'),
    opsToken: at('ops-token'),
    masterKey: at('master.key'),
    postgres: at('postgres'),
    pglite: at('pglite'),
    objects: at('objects'),
    images: at('images'),
    instances: at('instances'),
    networks: at('networks'),
    kvmProbe: at('kvm-probe.json'),
    lastSettings: at('settings.json'),
    log: at('novact.log'),
  };
}

/** The driver that plumbs networks: sim guests have no interfaces, so they need no bridge. */
export const networkDriverOf = (settings: Pick<Settings, 'networkDriver' | 'hypervisor'>): 'linux' | 'fake' =>
  settings.networkDriver ?? (settings.hypervisor === 'sim' ? 'fake' : 'linux');
