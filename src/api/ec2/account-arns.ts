// The ARNs of people, as AWS writes them: a project stands for the account.
import type { Principal } from '../../auth/principal.ts';

/** Names of another store may have what an ARN cannot. */
const arnName = (name: string): string => name.replaceAll(/[^\w+=,.@-]/g, '_');

export const userArn = (projectId: string, userName: string): string => `arn:aws:iam::${projectId}:user/${arnName(userName)}`;

export const callerArn = ({ projectId, userName }: Pick<Principal, 'projectId' | 'userName'>): string => userArn(projectId, userName);
