// What a bucket policy says of one request: denied, allowed, or nothing. A denial wins over whatever allows.
import { conditionValues, type Asked } from './condition-keys.ts';
import { isNullTest } from './operators.ts';
import type { Condition, Patterns, Policy, Statement } from './policy-document.ts';
import { matchesWildcard } from './wildcards.ts';

export interface PolicyRequest extends Asked {
  /** `s3:GetObject` */
  readonly action: string;
  /** `bucket` or `bucket/key`. */
  readonly resource: string;
}

export type Verdict = 'deny' | 'allow' | 'silent';

export function evaluatePolicy(policy: Policy, request: PolicyRequest): Verdict {
  let verdict: Verdict = 'silent';
  for (const statement of policy.statements) {
    if (!applies(policy, statement, request)) continue;
    if (statement.effect === 'Deny') return 'deny';
    verdict = 'allow';
  }
  return verdict;
}

/** Whether anybody at all may do something by it: AWS calls such a policy public. */
export const isPublicPolicy = (policy: Policy): boolean => policy.statements.some((statement) =>
  statement.effect === 'Allow' && (statement.principals.isNegated || statement.principals.list.includes('*')) && statement.conditions.length === 0);

function applies(policy: Policy, statement: Statement, request: PolicyRequest): boolean {
  const fill = (text: string): string => (policy.version === '2012-10-17' ? withVariables(text, request) : text);
  return holds(statement.principals, (pattern) => namesPrincipal(pattern, request))
    && holds(statement.actions, (pattern) => matchesWildcard(pattern.toLowerCase(), request.action.toLowerCase()))
    && holds(statement.resources, (pattern) => matchesWildcard(fill(pattern), request.resource))
    && statement.conditions.every((condition) => conditionHolds(condition, request, fill));
}

const holds = (patterns: Patterns, matches: (pattern: string) => boolean): boolean => patterns.list.some(matches) !== patterns.isNegated;

function namesPrincipal(pattern: string, { call: { principal } }: PolicyRequest): boolean {
  if (pattern === '*') return true;
  return principal !== undefined && (pattern === principal.projectId || pattern === `${principal.projectId}/${principal.userName}`);
}

function conditionHolds(condition: Condition, request: PolicyRequest, fill: (text: string) => string): boolean {
  const { operator } = condition;
  const found = conditionValues(condition.key, request);
  if (isNullTest(operator)) return condition.values.some((value) => (value.toLowerCase() === 'true') === (found.length === 0));
  if (found.length === 0) return operator.ifExists || operator.quantifier === 'all' || (operator.isNegated && operator.quantifier !== 'any');
  const wanted = condition.values.map(fill);
  const one = (value: string): boolean => wanted.some((text) => operator.compare(value, text)) !== operator.isNegated;
  return operator.quantifier === 'all' || operator.isNegated && operator.quantifier === undefined ? found.every(one) : found.some(one);
}

/** `${aws:username}` is what the request says; `${*}`, `${?}` and `${$}` are the characters themselves. A key that is not there matches nothing. */
function withVariables(text: string, request: PolicyRequest): string {
  return text.replace(/\$\{([^}]{1,200})\}/g, (_whole, name: string) => {
    if (name === '*' || name === '?' || name === '$') return name;
    const [key = '', fallback] = name.split(',').map((part) => part.trim());
    return conditionValues(key.toLowerCase(), request)[0] ?? fallback?.replace(/^'|'$/g, '') ?? '\0';
  });
}
