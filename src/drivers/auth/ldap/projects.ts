// Projects in a directory: groups of names that have an owner, their manager.
import { DriverError } from '../../../lib/errors.ts';
import type { AuthDriver, ProjectRecord } from '../driver.ts';
import { change } from './change.ts';
import type { Person } from './directory.ts';
import { addTo, takeFrom } from './groups.ts';
import type { FoundProject, LdapContext, Lookup } from './lookup.ts';
import { nameBelow } from './names.ts';
import { writable, type Write } from './write.ts';

type ProjectMethods = Pick<
  AuthDriver, 'project' | 'projects' | 'createProject' | 'modifyProject' | 'deleteProject' | 'members' | 'addMember' | 'removeMember'
>;

export function projectMethods(context: LdapContext, lookup: Lookup): ProjectMethods {
  const { rows, ownNames, directory, pool } = context;
  const write = writable(context);
  return {
    async project(idOrName) {
      const own = await lookup.ownProject(idOrName);
      if (own !== undefined || ownNames.has(idOrName)) return own;
      const found = await lookup.project(idOrName);
      return found === undefined ? undefined : recordOf(found);
    },
    async projects(memberId) {
      const own = (await rows.projects(memberId)).filter(({ name }) => ownNames.has(name));
      const member = memberId === undefined ? undefined : await lookup.person(memberId);
      const found = memberId !== undefined && member === undefined ? [] : await lookup.projects(member?.dn);
      return [...own, ...found.map(recordOf)].toSorted((left, right) => (left.name < right.name ? -1 : 1));
    },
    async createProject(project, memberIds) {
      if (ownNames.has(project.name)) return rows.createProject(project, memberIds);
      const members = await Promise.all([...new Set([project.managerId, ...memberIds])].map((id) => lookup.needPerson(id)));
      await create({ context, write, project, members });
    },
    async modifyProject(id, changes) {
      if ((await lookup.ownProject(id)) !== undefined) return rows.modifyProject(id, changes);
      const project = await lookup.needProject(id);
      const manager = changes.managerId === undefined ? undefined : await lookup.needPerson(changes.managerId);
      if (manager === undefined && changes.description === undefined) return;
      await write(`modify the project ${id}`, () => modify(context, project, { manager, description: changes.description }));
      await lookup.project(id);
    },
    async deleteProject(id) {
      if ((await lookup.ownProject(id)) !== undefined) return rows.deleteProject(id);
      const project = await lookup.needProject(id);
      await write(`delete the project ${id}`, async (changed) => {
        await changed.removeProject(id);
        for (const { dn } of await directory.groupsBelow(project.dn)) await pool.remove(dn);
        await pool.remove(project.dn);
      });
    },
    async members(projectId) {
      if ((await lookup.ownProject(projectId)) !== undefined) return rows.members(projectId);
      const project = await lookup.project(projectId);
      return project === undefined ? [] : lookup.memberIds(project);
    },
    async addMember(projectId, userId) {
      if ((await lookup.ownProject(projectId)) !== undefined) return rows.addMember(projectId, userId);
      const [project, person] = [await lookup.needProject(projectId), await lookup.needPerson(userId)];
      await write(`add ${userId} to ${projectId}`, () => addTo(context, project.dn, person.dn));
    },
    async removeMember(projectId, userId) {
      if ((await lookup.ownProject(projectId)) !== undefined) return rows.removeMember(projectId, userId);
      const [project, person] = [await lookup.project(projectId), await lookup.person(userId)];
      if (project === undefined || person === undefined) return;
      await write(`remove ${userId} from ${projectId}`, async () => {
        for (const { dn } of await directory.groupsBelow(project.dn, person.dn)) await takeFrom(context, { dn, isProject: false }, person.dn);
        await takeFrom(context, { dn: project.dn, isProject: true }, person.dn);
      });
    },
  };
}

const recordOf = ({ id, name, description, managerId }: FoundProject): ProjectRecord => ({ id, name, description, managerId });

interface Creation {
  readonly context: LdapContext;
  readonly write: Write;
  readonly project: ProjectRecord;
  readonly members: readonly Person[];
}

/** The class and attribute of ours that carry an id, beside what Nova's projects have. */
const idClass = { attribute: 'novactProjectId', name: 'novactProject' } as const;

async function create({ context, write, project, members }: Creation): Promise<void> {
  const { settings, pool, directory } = context;
  const manager = members.find(({ id }) => id === project.managerId);
  if (manager === undefined) throw new DriverError('notFound', `there is no user ${project.managerId}`);
  await write(`create the project ${project.name}`, async (changed) => {
    for (const wanted of [project.id, project.name]) {
      if ((await directory.project(wanted)) !== undefined) throw new DriverError('busy', `the directory has a project ${wanted}`);
    }
    await changed.addProject(project);
    await pool.add(nameBelow(settings.projectName, project.name, settings.groupBase), {
      objectClass: ['groupOfNames', ...(settings.projectId === idClass.attribute ? [idClass.name] : [])],
      cn: project.name, [settings.projectName]: project.name, [settings.projectId]: project.id, description: project.description,
      [settings.projectManager]: manager.dn, [settings.member]: members.map(({ dn }) => dn),
    });
  });
}

async function modify(
  { settings, pool }: LdapContext, project: FoundProject, { manager, description }: { manager: Person | undefined; description: string | undefined },
): Promise<void> {
  const isMember = project.memberDns.some((dn) => dn.toLowerCase() === manager?.dn.toLowerCase());
  if (manager !== undefined && !isMember) await addTo({ settings, pool }, project.dn, manager.dn);
  await pool.modify(project.dn, [
    ...(manager === undefined ? [] : [change('replace', settings.projectManager, manager.dn)]),
    ...(description === undefined ? [] : [change('replace', 'description', description)]),
  ]);
}
