// The registry of all actions: one line for each family.
import type { AnyAction } from '../action.ts';
import { accountActions } from './account.ts';
import { imageActions } from './images.ts';
import { instanceTypeActions } from './instance-types.ts';
import { instanceActions } from './instances.ts';
import { keyPairActions } from './key-pairs.ts';
import { regionActions } from './regions.ts';
import { securityGroupActions } from './security-groups.ts';
import { stsActions } from './sts.ts';
import { tagActions } from './tags.ts';

export const allActions: readonly AnyAction[] = [
  ...regionActions,
  ...accountActions,
  ...instanceTypeActions,
  ...tagActions,
  ...stsActions,
  ...imageActions,
  ...instanceActions,
  ...keyPairActions,
  ...securityGroupActions,
];
