// A bucket policy: read strictly and under limits when it is put, so that what is stored can be evaluated without doubt. What novact
// does not know (a condition, a key, a kind of principal) is refused here and never ignored there.
import { fail } from '../errors.ts';
import { conditionKeyIsKnown } from './condition-keys.ts';
import { parseOperator, type Operator } from './operators.ts';
import { matchesWildcard } from './wildcards.ts';

export const policyBytesMax = 20 * 1024;
const statementsMax = 100;
const valuesMax = 500;
const textLengthMax = 2048;

/** `Not…` inverts the list. */
export interface Patterns {
  readonly isNegated: boolean;
  readonly list: readonly string[];
}

export interface Condition {
  readonly operator: Operator;
  readonly key: string;
  readonly values: readonly string[];
}

export interface Statement {
  readonly effect: 'Allow' | 'Deny';
  /** `*`, project ids, `PROJECT/USER`. */
  readonly principals: Patterns;
  readonly actions: Patterns;
  /** `bucket` or `bucket/key`, with wildcards. */
  readonly resources: Patterns;
  readonly conditions: readonly Condition[];
}

export interface Policy {
  /** Variables (`${aws:username}`) are read in this version only. */
  readonly version: '2008-10-17' | '2012-10-17';
  readonly statements: readonly Statement[];
}

const malformed = (message: string): never => fail('MalformedPolicy', message);

const arnPrefix = 'arn:aws:s3:::';

/** Throws MalformedPolicy. Every resource must be one of that bucket. */
export function parsePolicy(text: string, bucket: string): Policy {
  if (!text.trimStart().startsWith('{')) malformed('Policies must be valid JSON and the first byte must be \'{\'');
  const policy = recordOf(parseJson(text), ['Version', 'Id', 'Statement']);
  const version = policy['Version'] ?? '2008-10-17';
  if (version !== '2008-10-17' && version !== '2012-10-17') return malformed('The policy must contain a valid version string');
  const statements = policy['Statement'];
  if (statements === undefined) malformed('Missing required field Statement');
  const list: readonly unknown[] = Array.isArray(statements) ? statements : [statements];
  if (list.length === 0) malformed('Could not parse the policy: Statement is empty!');
  if (list.length > statementsMax) malformed(`A policy has at most ${statementsMax} statements`);
  return { version, statements: list.map((statement) => parseStatement(statement, bucket)) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return malformed('This policy contains invalid Json');
  }
}

function recordOf(value: unknown, fields: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return malformed('This policy contains invalid Json');
  const unknown = Object.keys(value).find((name) => !fields.includes(name));
  if (unknown !== undefined) malformed(`Unknown field ${unknown}`);
  return value as Record<string, unknown>;
}

const statementFields = ['Sid', 'Effect', 'Principal', 'NotPrincipal', 'Action', 'NotAction', 'Resource', 'NotResource', 'Condition'];

function parseStatement(value: unknown, bucket: string): Statement {
  const statement = recordOf(value, statementFields);
  const effect = statement['Effect'];
  if (effect === undefined) malformed('Missing required field Effect');
  if (effect !== 'Allow' && effect !== 'Deny') return malformed(`Invalid effect: ${textOf(effect)}`);
  const actions = patternsOf(statement, 'Action');
  if (!actions.list.every((action) => action === '*' || /^s3:[A-Za-z*?]+$/i.test(action))) malformed('Policy has invalid action');
  const resources = patternsOf(statement, 'Resource');
  return {
    effect, actions, principals: principalsOf(statement),
    resources: { ...resources, list: resources.list.map((resource) => resourceOf(resource, bucket)) },
    conditions: conditionsOf(statement['Condition']),
  };
}

/** Exactly one of the field and its `Not…`. */
function chosen(statement: Record<string, unknown>, name: string): { isNegated: boolean; value: unknown } {
  const [plain, negated] = [statement[name], statement[`Not${name}`]];
  if (plain !== undefined && negated !== undefined) malformed(`Statement has both ${name} and Not${name}`);
  if (plain === undefined && negated === undefined) malformed(`Missing required field ${name}`);
  return { isNegated: plain === undefined, value: plain ?? negated };
}

function patternsOf(statement: Record<string, unknown>, name: string): Patterns {
  const { isNegated, value } = chosen(statement, name);
  return { isNegated, list: textsOf(value, `Policy has invalid ${name.toLowerCase()}`) };
}

function textsOf(value: unknown, complaint: string): string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0 || list.length > valuesMax) malformed(complaint);
  return list.map((item) => (typeof item === 'string' && item !== '' && item.length <= textLengthMax ? item : malformed(complaint)));
}

function resourceOf(arn: string, bucket: string): string {
  const resource = arn.startsWith(arnPrefix) ? arn.slice(arnPrefix.length) : arn === '*' ? '*' : malformed('Policy has invalid resource');
  const name = resource.split('/')[0] ?? '';
  if (!matchesWildcard(name, bucket)) malformed('Policy has invalid resource');
  return resource;
}

function principalsOf(statement: Record<string, unknown>): Patterns {
  const { isNegated, value } = chosen(statement, 'Principal');
  if (value === '*') return { isNegated, list: ['*'] };
  const kinds = recordOf(value, ['AWS', 'CanonicalUser', 'Service', 'Federated']);
  if (kinds['Service'] !== undefined || kinds['Federated'] !== undefined) malformed('Invalid principal in policy');
  const list = [kinds['AWS'], kinds['CanonicalUser']].flatMap((given) => (given === undefined ? [] : textsOf(given, 'Invalid principal in policy')));
  if (list.length === 0) malformed('Invalid principal in policy');
  return { isNegated, list: list.map(principalOf) };
}

/** A project stands for an account; its users are named in ARNs as IAM's are. */
function principalOf(text: string): string {
  if (text === '*' || /^\d{12}$/.test(text)) return text;
  const [, project = '', user] = /^arn:aws:iam::(\d{12}):(?:root|user\/([\w+=,.@-]{1,64}))$/.exec(text) ?? [];
  if (project === '') return malformed('Invalid principal in policy');
  return user === undefined ? project : `${project}/${user}`;
}

function conditionsOf(value: unknown): Condition[] {
  if (value === undefined) return [];
  const operators = value as Record<string, unknown>;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) malformed('Could not parse the policy: invalid condition');
  return Object.entries(operators).flatMap(([name, block]) => {
    const operator = parseOperator(name) ?? malformed(`Invalid Condition type : ${name.slice(0, 100)}`);
    if (typeof block !== 'object' || block === null || Array.isArray(block)) return malformed('Could not parse the policy: invalid condition');
    return Object.entries(block).map(([key, given]) => {
      if (!conditionKeyIsKnown(key)) malformed('Policy has an invalid condition key');
      return { operator, key: key.toLowerCase(), values: valuesOf(given, operator) };
    });
  });
}

function valuesOf(value: unknown, operator: Operator): string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.length > valuesMax) malformed('Could not parse the policy: too many condition values');
  const texts = list.map((item) => {
    const text = typeof item === 'number' || typeof item === 'boolean' ? String(item) : item;
    return typeof text === 'string' && text.length <= textLengthMax ? text : malformed('Could not parse the policy: invalid condition value');
  });
  if (!texts.every((text) => operator.accepts(text))) malformed(`Invalid value for Condition type ${operator.name}`);
  return texts;
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 100) : typeof value);
