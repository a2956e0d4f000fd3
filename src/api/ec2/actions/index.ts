// The registry of all actions: one line for each family.
import type { AnyAction } from '../action.ts';
import { absentActions } from './absent.ts';
import { accessKeyActions } from './access-keys.ts';
import { accountActions } from './account.ts';
import { addressActions } from './addresses.ts';
import { imageActions } from './images.ts';
import { instanceTypeActions } from './instance-types.ts';
import { instanceActions } from './instances.ts';
import { internetGatewayActions } from './internet-gateways.ts';
import { keyPairActions } from './key-pairs.ts';
import { networkAclActions } from './network-acls.ts';
import { networkInterfaceActions } from './network-interfaces.ts';
import { refusedActions } from './refused.ts';
import { regionActions } from './regions.ts';
import { routeTableActions } from './route-tables.ts';
import { securityGroupActions } from './security-groups.ts';
import { snapshotActions } from './snapshots.ts';
import { stsActions } from './sts.ts';
import { subnetActions } from './subnets.ts';
import { tagActions } from './tags.ts';
import { userActions } from './users.ts';
import { volumeActions } from './volumes.ts';
import { vpcActions } from './vpcs.ts';

export const allActions: readonly AnyAction[] = [
  ...regionActions,
  ...accountActions,
  ...instanceTypeActions,
  ...tagActions,
  ...stsActions,
  ...userActions,
  ...accessKeyActions,
  ...imageActions,
  ...instanceActions,
  ...keyPairActions,
  ...addressActions,
  ...securityGroupActions,
  ...volumeActions,
  ...snapshotActions,
  ...vpcActions,
  ...subnetActions,
  ...internetGatewayActions,
  ...routeTableActions,
  ...networkAclActions,
  ...networkInterfaceActions,
  ...absentActions,
  ...refusedActions,
];
