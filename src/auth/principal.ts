// Who a request acts as, once its signature is verified.

/** The roles of Nova, and AWS's-style effective permission on top: see roles.ts. */
export type Role = 'cloudadmin' | 'itsec' | 'sysadmin' | 'netadmin' | 'developer' | 'projectmanager';

export interface Principal {
  readonly userId: string;
  readonly userName: string;
  readonly accessKeyId: string;
  /** The key is a session's: it may use the cloud, and make no other keys. */
  readonly isTemporary?: true;
  /** The project acted in: of the key's `:project` suffix, or the key's own. */
  readonly projectId: string;
  readonly projectName: string;
  /** Skips authorization. */
  readonly isSuperuser: boolean;
  /** Acts in every project without membership. */
  readonly isAdmin: boolean;
  /** Effective in this project: held globally and in the project, or global-only; projectmanager is derived. */
  readonly roles: ReadonlySet<Role>;
}
