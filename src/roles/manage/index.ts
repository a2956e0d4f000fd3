// All commands of `novact manage`, in one table. Each is declared in the file of its category, beside what it calls.
import type { ManageCommand } from '../../api/ops/manage.ts';
import { auditCommands } from './audit.ts';
import { authorityCommands } from './authorities.ts';
import { certificateCommands } from './certificates.ts';
import { deadLetterCommands } from './deadletters.ts';
import type { ManageDeps } from './deps.ts';
import { fixedCommands } from './fixed.ts';
import { floatingCommands } from './floating.ts';
import { roleCommands } from './grants.ts';
import { hostCommands } from './hosts.ts';
import { imageCommands } from './images.ts';
import { instanceTypeCommands } from './instance-types.ts';
import { instanceCommands } from './instances.ts';
import { logCommands } from './logs.ts';
import { networkCommands } from './networks.ts';
import { projectCommands } from './projects.ts';
import { quotaCommands } from './quotas.ts';
import { serviceCommands } from './services.ts';
import { settingsCommands } from './settings.ts';
import { userCommands } from './users.ts';
import { vmCommands } from './vms.ts';
import { volumeCommands } from './volumes.ts';
import { vpnCommands } from './vpns.ts';

export const manageCommands: readonly ManageCommand<ManageDeps>[] = [
  ...hostCommands, ...serviceCommands, ...instanceCommands, ...volumeCommands, ...networkCommands, ...floatingCommands, ...deadLetterCommands, ...vpnCommands,
  ...userCommands, ...projectCommands, ...roleCommands, ...authorityCommands, ...instanceTypeCommands, ...settingsCommands,
  ...certificateCommands, ...quotaCommands, ...fixedCommands, ...vmCommands, ...imageCommands, ...logCommands, ...auditCommands,
];
