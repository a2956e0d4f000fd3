// What novact's database keeps of a directory's people and projects: rows to which resources refer, access keys, and whether somebody is
// disabled here. And what is only there: the cloud's own accounts, by name, which no directory knows and which work while it is away.
import type { Db, Tx } from '../../../db/db.ts';
import { deleteProjectRow, deleteUserRows } from '../../../db/identity.ts';
import { mirrorProjects, mirrorUser, selectDisabledIds, underIdentityLock, type MirroredProject, type MirroredUser } from '../../../db/identity-mirror.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { ProjectRecord, UserRecord } from '../driver.ts';

export interface Mirror {
  user(user: MirroredUser): Promise<void>;
  /** Those that could not be: their ids are other projects'. */
  projects<T extends MirroredProject>(projects: readonly T[]): Promise<readonly T[]>;
  disabledIds(): Promise<ReadonlySet<string>>;
  /** One change of the directory at a time in the whole cloud, and none that the database refuses: what the work throws undoes its rows. */
  change<T>(work: (rows: ChangedRows) => Promise<T>): Promise<T>;
}

/** Rows that change together with the directory. */
export interface ChangedRows {
  addUser(user: UserRecord): Promise<void>;
  addProject(project: ProjectRecord): Promise<void>;
  /** False: there is none. */
  removeUser(id: string): Promise<boolean>;
  removeProject(id: string): Promise<boolean>;
}

export function createMirror({ db, clock }: { readonly db: Db; readonly clock: Clock }): Mirror {
  return {
    user: (user) => mirrorUser(db, user, clock.date()),
    projects: (projects) => mirrorProjects(db, projects, clock.date()),
    disabledIds: () => selectDisabledIds(db),
    change: (work) => underIdentityLock(db, (tx) => work(rowsIn(tx, clock))),
  };
}

function rowsIn(tx: Tx, clock: Clock): ChangedRows {
  return {
    addUser: (user) => mirrorUser(tx, user, clock.date()),
    async addProject(project) {
      await mirrorProjects(tx, [{ ...project, isIdMade: false }], clock.date());
    },
    removeUser: (id) => deleteUserRows(tx, id),
    removeProject: (id) => deleteProjectRow(tx, id),
  };
}
