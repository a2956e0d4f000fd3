// The registry of all actions: one line for each family.
import type { AnyAction } from '../action.ts';
import { accountActions } from './account.ts';
import { instanceTypeActions } from './instance-types.ts';
import { regionActions } from './regions.ts';
import { stsActions } from './sts.ts';
import { tagActions } from './tags.ts';

export const allActions: readonly AnyAction[] = [
  ...regionActions,
  ...accountActions,
  ...instanceTypeActions,
  ...tagActions,
  ...stsActions,
];
