// AWS's published model of EC2, STS and IAM, as scripts/model.ts extracted it: the wire shape of every operation. The reader (wire.ts) and
// the writer (xml.ts) follow these shapes; no action is named here or there.
import { readFileSync } from 'node:fs';

export type Scalar = 'string' | 'integer' | 'decimal' | 'boolean' | 'timestamp' | 'blob';
export type Shape = Scalar | Structure | List;

export interface Structure {
  readonly kind: 'structure';
  readonly members: readonly Member[];
}

export interface Member {
  /** As handlers know it: `InstanceIds`. */
  readonly name: string;
  /** As clients send it, without the index of a list: `InstanceId`. */
  readonly queryName: string;
  /** As answers carry it: `instanceId`. */
  readonly xmlName: string;
  readonly required: boolean;
  readonly shape: Shape;
}

export interface List {
  readonly kind: 'list';
  /** The XML element around each value: `item`, with few exceptions. */
  readonly elementName: string;
  readonly element: Shape;
}

export type ServiceName = 'ec2' | 'sts' | 'iam';

export interface Operation {
  readonly name: string;
  readonly service: ServiceName;
  readonly input: Structure | undefined;
  readonly output: Structure | undefined;
}

export interface Service {
  readonly name: ServiceName;
  readonly version: string;
  readonly operations: ReadonlyMap<string, Operation>;
}

type RawType = string | number;
type RawMember = readonly [name: string, queryName: string, xmlName: string, type: RawType];
type RawShape = readonly ['L', string, RawType] | readonly ['S', number, ...RawMember[]];

interface RawService {
  readonly version: string;
  readonly operations: Readonly<Record<string, readonly [RawType | null, RawType | null]>>;
  readonly shapes: readonly RawShape[];
}

const scalars: Readonly<Record<string, Scalar>> = { s: 'string', i: 'integer', d: 'decimal', b: 'boolean', t: 'timestamp', x: 'blob' };

/** Shapes refer to each other in circles, so each is made empty at its first mention and filled once. */
class Builder {
  readonly #raw: RawService;
  readonly #built: (Structure | List)[] = [];

  constructor(raw: RawService) {
    this.#raw = raw;
  }

  structure(type: RawType | null): Structure | undefined {
    const shape = type === null ? undefined : this.#shape(type);
    return typeof shape === 'object' && shape.kind === 'structure' ? shape : undefined;
  }

  #shape(type: RawType): Shape {
    if (typeof type === 'string') return scalars[type] ?? 'string';
    const known = this.#built[type];
    if (known !== undefined) return known;
    const raw = this.#raw.shapes[type];
    if (raw === undefined) throw new Error(`model.json: there is no shape ${type}`);
    return raw[0] === 'L' ? this.#list(type, raw[1], raw[2]) : this.#members(type, raw[1], raw.slice(2) as RawMember[]);
  }

  #list(index: number, elementName: string, element: RawType): List {
    const list: { -readonly [Key in keyof List]: List[Key] } = { kind: 'list', elementName, element: 'string' };
    this.#built[index] = list;
    list.element = this.#shape(element);
    return list;
  }

  #members(index: number, requiredCount: number, raw: readonly RawMember[]): Structure {
    const members: Member[] = [];
    const structure: Structure = { kind: 'structure', members };
    this.#built[index] = structure;
    raw.forEach(([name, queryName, xmlName, type], position) => {
      members.push({
        name,
        queryName: queryName || name,
        xmlName: xmlName || name.charAt(0).toLowerCase() + name.slice(1),
        required: position < requiredCount,
        shape: this.#shape(type),
      });
    });
    return structure;
  }
}

function load(): Readonly<Record<ServiceName, Service>> {
  // Read, not imported: the compiler would type half a megabyte of JSON. The build copies the file beside this one.
  const raw = JSON.parse(readFileSync(new URL('./model.json', import.meta.url), 'utf8')) as Record<ServiceName, RawService>;
  return { ec2: buildService('ec2', raw.ec2), sts: buildService('sts', raw.sts), iam: buildService('iam', raw.iam) };
}

/** Required by today's AWS, left out by clients of Nova's time. */
const optional: Readonly<Record<string, readonly string[]>> = { RegisterImage: ['Name'] };

function withOptional(structure: Structure, names: readonly string[]): Structure {
  if (names.length === 0) return structure;
  return { kind: 'structure', members: structure.members.map((member) => (names.includes(member.name) ? { ...member, required: false } : member)) };
}

function buildService(name: ServiceName, raw: RawService): Service {
  const builder = new Builder(raw);
  const operations = new Map<string, Operation>();
  for (const [operation, [input, output]] of Object.entries(raw.operations)) {
    const shape = builder.structure(input);
    operations.set(operation, {
      name: operation,
      service: name,
      input: shape && withOptional(shape, optional[operation] ?? []),
      output: builder.structure(output),
    });
  }
  return { name, version: raw.version, operations };
}

export const services: Readonly<Record<ServiceName, Service>> = load();

/** The operation of this name, in EC2 or else in STS or IAM: the three share one endpoint and no name. */
export function findOperation(name: string): Operation | undefined {
  return services.ec2.operations.get(name) ?? services.sts.operations.get(name) ?? services.iam.operations.get(name);
}

/** The service that a client's `Version` names; EC2's clients have had many. */
export function serviceOf(version: string | undefined): ServiceName {
  if (version === services.sts.version) return 'sts';
  return version === services.iam.version ? 'iam' : 'ec2';
}

/** EC2 has a dialect of the query protocol; the others write lists as `X.member.1`, name the result, and refuse in another form. */
export const speaksPlainQuery = (service: ServiceName): boolean => service !== 'ec2';
