// The registry of the Admin API's actions: one line for each family.
import type { AnyAction } from '../ec2/action.ts';
import { hostActions } from './hosts.ts';
import { projectActions } from './projects.ts';
import { userActions } from './users.ts';

export const adminActions: readonly AnyAction[] = [...userActions, ...projectActions, ...hostActions];
