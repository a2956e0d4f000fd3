// Users, projects and roles in an LDAP directory, with Nova's schema or one that was there before. Access keys stay in novact's database,
// sealed: a directory has no place for several, shows them to whoever may read it, and is often not ours to write.
import type { Db } from '../../../db/db.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Log } from '../../../lib/log.ts';
import { createDbAuthDriver } from '../db.ts';
import type { AuthDriver } from '../driver.ts';
import { createAnswerCache } from './cache.ts';
import { createDirectory } from './directory.ts';
import { createLookup, type LdapContext } from './lookup.ts';
import { createMirror } from './mirror.ts';
import { createLdapPool } from './pool.ts';
import { projectMethods } from './projects.ts';
import { roleMethods } from './roles.ts';
import type { LdapSettings } from './settings.ts';
import { userMethods } from './users.ts';

export interface LdapAuthSettings {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  readonly ldap: LdapSettings;
  /** Users and projects that are novact's own, and never looked for in the directory. */
  readonly ownNames: readonly string[];
}

export function createLdapAuthDriver({ db, clock, log, ldap: settings, ownNames }: LdapAuthSettings): AuthDriver {
  const pool = createLdapPool({ settings, clock, log });
  const rows = createDbAuthDriver({ db, clock });
  const context: LdapContext = {
    settings, pool, rows, log, directory: createDirectory(pool, settings), cache: createAnswerCache({ clock, ageMsMax: settings.cacheMs }),
    mirror: createMirror({ db, clock }), ownNames: new Set(ownNames),
  };
  const lookup = createLookup(context);
  const { accessKey, accessKeys, modifyAccessKey, deleteAccessKey } = rows;
  return {
    info: { name: 'ldap', readOnly: settings.access === 'read' },
    ...userMethods(context, lookup), ...projectMethods(context, lookup), ...roleMethods(context, lookup),
    accessKey, accessKeys, modifyAccessKey, deleteAccessKey,
    async createAccessKey(key) {
      // Their rows may not be there yet.
      if ((await lookup.ownUser(key.userId)) === undefined) await lookup.needPerson(key.userId);
      if (key.projectId !== undefined && (await lookup.ownProject(key.projectId)) === undefined) await lookup.needProject(key.projectId);
      await rows.createAccessKey(key);
    },
    close: async () => pool.close(),
  };
}
