// How far this cloud promises more than its hosts have: the same for who places instances and who moves them.
import type { Settings } from '../config/settings.ts';
import type { Overcommit } from '../db/hosts.ts';

/** Cores are shared; memory and disk are not. */
export const overcommitOf = ({ coresRatio }: Pick<Settings, 'coresRatio'>): Overcommit => ({ cores: coresRatio, memory: 1, disk: 1 });
