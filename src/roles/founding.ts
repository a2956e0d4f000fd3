// What a new cloud begins with: a first user with a project and a key, a key for the cloud's own errands, the instance types, and the
// ready-made image. Everything is ensured, so that a start that was cut short is made good by the next.
import type { FounderKey } from '../cli/cloud.ts';
import { readSetting, writeSetting } from '../db/hosts.ts';
import { seedInstanceTypes } from '../db/instance-types.ts';
import type { SettingKey } from '../db/schema/hosts.ts';
import type { Foundation } from './foundation.ts';
import { founderName, systemName } from './own-accounts.ts';

export interface SystemKey {
  readonly accessKeyId: string;
  readonly secret: string;
}

export interface Founding {
  readonly founder: FounderKey & { readonly projectId: string };
  readonly systemKey: SystemKey;
}

/** Of processes that start at once, one makes it and the others find it. */
export const ensureFounding = (foundation: Foundation): Promise<Founding> => foundation.once('founding', () => found(foundation));

async function found(foundation: Foundation): Promise<Founding> {
  const { db } = foundation;
  await seedInstanceTypes(db);
  const founder = await ensurePerson(foundation, { user: founderName, project: founderName, setting: 'founderKey' });
  const system = await ensurePerson(foundation, { user: systemName, project: systemName, setting: 'systemKey' });
  return {
    founder: { userName: founderName, projectName: founderName, projectId: founder.projectId, accessKeyId: founder.accessKeyId, secretKey: founder.secret },
    systemKey: { accessKeyId: system.accessKeyId, secret: system.secret },
  };
}

async function ensurePerson(
  { db, auth }: Foundation, wanted: { user: string; project: string; setting: SettingKey },
): Promise<SystemKey & { projectId: string }> {
  if ((await auth.user(wanted.user)) === undefined) await auth.createUser({ name: wanted.user, isAdmin: true });
  const project = (await auth.project(wanted.project)) ?? (await auth.createProject({ name: wanted.project, manager: wanted.user }));
  const known = await readSetting(db, wanted.setting);
  const credential = known === undefined ? undefined : await auth.findCredential(known);
  if (credential !== undefined && known !== undefined) return { accessKeyId: known, secret: credential.secret, projectId: project.id };
  const key = await auth.createAccessKey({ user: wanted.user, project: wanted.project });
  await writeSetting(db, wanted.setting, key.accessKeyId);
  return { accessKeyId: key.accessKeyId, secret: key.secretAccessKey, projectId: project.id };
}
