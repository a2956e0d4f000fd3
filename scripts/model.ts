// Extracts the wire shapes of every EC2, STS and IAM operation from the AWS SDK's own schemas (a development dependency) into
// src/api/ec2/model.json, which is checked in: one shape per line, so that an update of the SDK can be reviewed as a diff.
// Run it with `npm run model`.
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

type Loose = readonly unknown[];
type ModelType = string | number;

/** Kinds of the SDK's schema arrays. */
const kindAlias = 0;
const kindList = 1;
const kindMap = 2;
const kindStructure = 3;
const kindOperation = 9;
const listOf = 64;
const mapOf = 128;

/** The SDK says `number` for integers and decimals alike. These input members take decimals, by botocore's model. */
const decimals = new Set([
  'ClientData.UploadSize', 'FleetLaunchTemplateOverridesRequest.WeightedCapacity', 'FleetLaunchTemplateOverridesRequest.Priority',
  'FleetLaunchTemplateOverrides.WeightedCapacity', 'FleetLaunchTemplateOverrides.Priority', 'LaunchTemplateOverrides.WeightedCapacity',
  'LaunchTemplateOverrides.Priority', 'MemoryGiBPerVCpu.Min', 'MemoryGiBPerVCpu.Max', 'MemoryGiBPerVCpuRequest.Min', 'MemoryGiBPerVCpuRequest.Max',
  'NetworkBandwidthGbps.Min', 'NetworkBandwidthGbps.Max', 'NetworkBandwidthGbpsRequest.Min', 'NetworkBandwidthGbpsRequest.Max',
  'PriceScheduleSpecification.Price', 'ReservationFleetInstanceSpecification.Weight', 'ReservedInstanceLimitPrice.Amount',
  'SpotFleetLaunchSpecification.WeightedCapacity', 'SpotFleetRequestConfigData.FulfilledCapacity',
  'SpotFleetRequestConfigData.OnDemandFulfilledCapacity', 'TotalLocalStorageGB.Min', 'TotalLocalStorageGB.Max',
  'TotalLocalStorageGBRequest.Min', 'TotalLocalStorageGBRequest.Max',
]);

const scalars: Readonly<Record<number, string>> = { 0: 's', 1: 'i', 2: 'b', 4: 't', 5: 't', 6: 't', 7: 't', 21: 'x' };

class Extractor {
  readonly shapes: unknown[] = [];
  readonly operations: Record<string, readonly [ModelType | null, ModelType | null]> = {};
  readonly #known = new Map<unknown, ModelType>();
  /** EC2's dialect of the query protocol writes members with a capital letter; STS's and IAM's writes them as they are. */
  readonly #capitals: boolean;

  constructor(capitals: boolean) {
    this.#capitals = capitals;
  }

  operation(schema: Loose): void {
    const [input, output] = [schema[4], schema[5]].map((shape) => this.#type(shape, String(schema[2])));
    this.operations[String(schema[2])] = [input === 'unit' ? null : (input ?? null), output === 'unit' ? null : (output ?? null)];
  }

  #type(reference: unknown, where: string): ModelType {
    const schema = typeof reference === 'function' ? (reference as () => unknown)() : reference;
    if (schema === 'unit') return 'unit';
    if (typeof schema === 'number') return this.#simple(schema, where);
    if (!Array.isArray(schema)) throw new Error(`${where}: a schema of an unknown form`);
    if (!isShape(schema)) return this.#type(schema[0], where);
    if (schema[0] === kindAlias) return this.#type(schema[4], where);
    const known = this.#known.get(schema);
    if (known !== undefined) return known;
    const index = this.shapes.push(null) - 1;
    this.#known.set(schema, index);
    this.shapes[index] = schema[0] === kindList ? this.#list(schema) : this.#structure(schema);
    return index;
  }

  #simple(schema: number, where: string): ModelType {
    const scalar = scalars[schema];
    if (scalar !== undefined) return scalar;
    if ((schema & listOf) === 0) throw new Error(`${where}: unknown simple schema ${schema}`);
    const known = this.#known.get(schema);
    if (known !== undefined) return known;
    const index = this.shapes.push(['L', 'member', this.#simple(schema & ~listOf, where)]) - 1;
    this.#known.set(schema, index);
    return index;
  }

  #list(schema: Loose): unknown {
    const element = schema[4];
    return ['L', traitsOf(element)['xmlName'] ?? 'member', this.#type(element, String(schema[2]))];
  }

  /** ['S', how many members are required (they come first), then [name, query name, XML name, type]; '' where the name follows the rule]. */
  #structure(schema: Loose): unknown {
    if (schema[0] !== kindStructure) throw new Error(`${String(schema[2])}: unknown kind ${String(schema[0])}`);
    const names = schema[4] as readonly string[];
    const types = schema[5] as Loose;
    const members = names.map((name, position) => {
      const where = `${String(schema[2])}.${name}`;
      const traits = traitsOf(types[position]);
      const xmlName = traits['xmlName'] ?? name;
      const queryName = traits['ec2QueryName'] ?? (this.#capitals ? xmlName.charAt(0).toUpperCase() + xmlName.slice(1) : xmlName);
      const type = this.#type(types[position], where);
      return [name, queryName === name ? '' : queryName, xmlName === lowerFirst(name) ? '' : xmlName, type === 'i' && decimals.has(where) ? 'd' : type];
    });
    return ['S', Number(schema[6] ?? 0), ...members];
  }
}

/** A shape begins [kind, namespace, name, traits …]; a reference with traits is [reference, traits]. */
const isShape = (schema: Loose): boolean => schema.length > 2 && typeof schema[1] === 'string';

/** Maps, which neither EC2 nor STS has, are no shape of ours: the few operations of IAM with one are left out. */
function hasMap(reference: unknown, seen = new Set<unknown>()): boolean {
  const schema = typeof reference === 'function' ? (reference as () => unknown)() : reference;
  if (typeof schema === 'number') return (schema & mapOf) !== 0;
  if (!Array.isArray(schema) || seen.has(schema)) return false;
  seen.add(schema);
  return (isShape(schema) && schema[0] === kindMap) || schema.some((part) => hasMap(part, seen));
}

function traitsOf(reference: unknown): Readonly<Record<string, string>> {
  const traits = Array.isArray(reference) && !isShape(reference) ? reference[1] : undefined;
  return typeof traits === 'object' && traits !== null ? (traits as Record<string, string>) : {};
}

const lowerFirst = (name: string): string => name.charAt(0).toLowerCase() + name.slice(1);

function extract(sdk: Readonly<Record<string, unknown>>, version: string): unknown {
  const extractor = new Extractor(version === '2016-11-15');
  const isWanted = (value: unknown): value is Loose => Array.isArray(value) && value[0] === kindOperation && !hasMap(value[4]) && !hasMap(value[5]);
  const operations = Object.values(sdk).filter(isWanted);
  for (const schema of operations.toSorted((a, b) => (String(a[2]) < String(b[2]) ? -1 : 1))) extractor.operation(schema);
  return { version, operations: extractor.operations, shapes: extractor.shapes };
}

/** One operation or shape per line. */
function print(model: Readonly<Record<string, unknown>>): string {
  const services = Object.entries(model).map(([name, service]) => {
    const { version, operations, shapes } = service as { version: string; operations: Record<string, unknown>; shapes: unknown[] };
    const lines = Object.entries(operations).map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    const shapeLines = shapes.map((shape) => JSON.stringify(shape));
    return `${JSON.stringify(name)}:{"version":"${version}","operations":{\n${lines.join(',\n')}\n},"shapes":[\n${shapeLines.join(',\n')}\n]}`;
  });
  return `{${services.join(',\n')}}\n`;
}

/** The text of model.json, from the installed SDK. A spec compares it with the file. */
export function modelText(): string {
  const require = createRequire(import.meta.url);
  return print({
    ec2: extract(require('@aws-sdk/client-ec2'), '2016-11-15'), sts: extract(require('@aws-sdk/client-sts'), '2011-06-15'),
    iam: extract(require('@aws-sdk/client-iam'), '2010-05-08'),
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = fileURLToPath(new URL('../src/api/ec2/model.json', import.meta.url));
  const text = modelText();
  writeFileSync(file, text);
  console.log(`${file}: ${text.length} bytes`);
}
