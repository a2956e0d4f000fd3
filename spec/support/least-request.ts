// The least request of an action that AWS's model takes: its required members, each with a value of its type.
import { findOperation, speaksPlainQuery, type Member, type Shape } from '../../src/api/ec2/model.ts';

/** The least that the reader takes for a shape. */
function leastOf(shape: Shape, name: string, isPlain: boolean): string[] {
  if (shape === 'integer' || shape === 'decimal') return [`${name}=1`];
  if (shape === 'boolean') return [`${name}=false`];
  if (shape === 'timestamp') return [`${name}=2026-01-31T12:00:00Z`];
  if (shape === 'string' || shape === 'blob') return [`${name}=eHh4`];
  if (shape.kind === 'list') return leastOf(shape.element, isPlain ? `${name}.member.1` : `${name}.1`, isPlain);
  const required = shape.members.filter((member) => member.required);
  const members: readonly Member[] = required.length === 0 ? shape.members.slice(0, 1) : required;
  return members.flatMap((member) => leastOf(member.shape, `${name}.${member.queryName}`, isPlain));
}

/** `Action=RebootInstances&InstanceId.1=eHh4` */
export function leastRequest({ name }: { readonly name: string }): string {
  const operation = findOperation(name);
  const required = (operation?.input?.members ?? []).filter((member) => member.required);
  const parameters = required.flatMap((member) => leastOf(member.shape, member.queryName, operation !== undefined && speaksPlainQuery(operation.service)));
  return [`Action=${name}`, ...parameters].join('&');
}
