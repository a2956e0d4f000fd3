// The shapes of Nova's Admin API, in the form of AWS's model: what its clients (nova-adminclient over boto 2) send and look for. The types of
// inputs and outputs follow from the same table.
import type { Member, Operation, Shape, Structure } from '../ec2/model.ts';

/** `string!` is required. */
type Field = 'string' | 'string!' | 'integer' | 'boolean' | 'timestamp' | readonly [Field] | Fields;
interface Fields {
  readonly [name: string]: Field;
}

type ValueOf<F> = F extends 'string' | 'string!' ? string
  : F extends 'integer' ? number
    : F extends 'boolean' ? boolean
      : F extends 'timestamp' ? Date
        : F extends readonly [infer Element] ? readonly ValueOf<Element>[]
          : { readonly [Name in keyof F]?: ValueOf<F[Name]> | undefined };

type InputFields<F> = { readonly [Name in keyof F as F[Name] extends 'string!' ? Name : never]: string }
  & { readonly [Name in keyof F as F[Name] extends 'string!' ? never : Name]?: ValueOf<F[Name]> | undefined };

const user = { username: 'string', accesskey: 'string', secretkey: 'string', file: 'string' } as const;
const project = { projectname: 'string', projectManagerId: 'string', description: 'string' } as const;
const host = { hostname: 'string', instanceCount: 'integer', volumeCount: 'integer', compute: 'string', volume: 'string' } as const;
const roles = { roles: [{ role: 'string' }] } as const;

/** Without an output, success is `<return>true</return>`. */
const table = {
  DescribeInstanceTypes: {
    input: {}, output: { instanceTypeSet: [{ name: 'string', memoryMb: 'integer', vcpus: 'integer', diskGb: 'integer', flavorId: 'integer' }] },
  },
  DescribeUser: { input: { Name: 'string!' }, output: user },
  DescribeUsers: { input: {}, output: { userSet: [user] } },
  RegisterUser: { input: { Name: 'string!' }, output: user },
  DeregisterUser: { input: { Name: 'string!' } },
  DescribeRoles: { input: { ProjectRoles: 'boolean' }, output: roles },
  DescribeUserRoles: { input: { User: 'string!', Project: 'string' }, output: roles },
  ModifyUserRole: { input: { User: 'string!', Role: 'string!', Project: 'string', Operation: 'string' } },
  GenerateX509ForUser: { input: { Name: 'string!', Project: 'string' }, output: user },
  DescribeProject: { input: { Name: 'string!' }, output: project },
  DescribeProjects: { input: { User: 'string' }, output: { projectSet: [project] } },
  RegisterProject: { input: { Name: 'string!', ManagerUser: 'string!', Description: 'string', MemberUsers: ['string'] }, output: project },
  ModifyProject: { input: { Name: 'string!', ManagerUser: 'string', Description: 'string' } },
  DeregisterProject: { input: { Name: 'string!' } },
  DescribeProjectMembers: { input: { Name: 'string!' }, output: { members: [{ member: 'string' }] } },
  ModifyProjectMember: { input: { User: 'string!', Project: 'string!', Operation: 'string' } },
  DescribeHosts: { input: {}, output: { hosts: [host] } },
  DescribeHost: { input: { Name: 'string!' }, output: host },
  StartVpn: { input: { Project: 'string!' }, output: { instanceId: 'string' } },
  DescribeVpns: {
    input: {},
    output: {
      items: [{
        projectId: 'string', publicIp: 'string', publicPort: 'integer', instanceId: 'string', createdAt: 'timestamp', internalIp: 'string', state: 'string',
      }],
    },
  },
} as const satisfies Readonly<Record<string, { readonly input: Fields; readonly output?: Fields }>>;

type Table = typeof table;
export type AdminActionName = keyof Table;
export type AdminInput<Name extends AdminActionName> = InputFields<Table[Name]['input']>;
export type AdminOutput<Name extends AdminActionName> = Table[Name] extends { readonly output: infer Output } ? ValueOf<Output> : void;

function shapeOf(field: Field): Shape {
  if (field === 'string!') return 'string';
  if (typeof field === 'string') return field;
  if (Array.isArray(field)) return { kind: 'list', elementName: 'item', element: shapeOf((field as readonly [Field])[0]) };
  return structureOf(field as Fields);
}

const memberOf = ([name, field]: readonly [string, Field]): Member =>
  ({ name, queryName: name, xmlName: name, required: field === 'string!', shape: shapeOf(field) });

const structureOf = (fields: Fields): Structure => ({ kind: 'structure', members: Object.entries(fields).map(memberOf) });

const operations: ReadonlyMap<string, Operation> = new Map(Object.entries(table).map(([name, { input, ...rest }]) => [
  name, { name, service: 'ec2', input: structureOf(input), output: 'output' in rest ? structureOf(rest.output) : undefined },
]));

export const adminActionNames: readonly string[] = [...operations.keys()];

export const findAdminOperation = (name: string): Operation | undefined => operations.get(name);
