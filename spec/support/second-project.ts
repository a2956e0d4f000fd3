// A second user with a project and an access key of their own, made with the cloud's own auth manager on its database and master key:
// there is no command for it yet. Not with PGlite, which has one owner at a time.
import { join } from 'node:path';
import { AuthManager } from '../../src/auth/manager.ts';
import { authDrivers } from '../../src/drivers/auth/index.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { loadSealer } from '../../src/lib/sealed.ts';
import type { AccessKey } from './clients.ts';
import type { CloudProcess } from './cloud-process.ts';

export async function createSecondProject(
  cloud: Pick<CloudProcess, 'state' | 'openDatabase'>, name: string, masterKey = join(cloud.state, 'master.key'),
): Promise<AccessKey> {
  const database = await cloud.openDatabase();
  try {
    const driver = authDrivers.db({ db: database.db, clock: systemClock });
    const auth = new AuthManager({ driver, sealer: await loadSealer(masterKey) });
    await auth.createUser({ name });
    await auth.createProject({ name, manager: name });
    // As in Nova, what one may do in a project is what one may do there and in the cloud at large.
    for (const role of ['sysadmin', 'netadmin'] as const) {
      await auth.addRole(name, role);
      await auth.addRole(name, role, name);
    }
    const { accessKeyId, secretAccessKey } = await auth.createAccessKey({ user: name, project: name });
    return { accessKeyId, secretAccessKey };
  } finally {
    await database.close();
  }
}
