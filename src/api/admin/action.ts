// An action of the Admin API: one entry of a family's list, as those of EC2. All are for superusers.
import type { AnyAction, Call } from '../ec2/action.ts';
import type { ErrorCode } from '../ec2/errors.ts';
import type { AdminActionName, AdminInput, AdminOutput } from './model.ts';

interface AdminEntry<Name extends AdminActionName, Codes extends ErrorCode> {
  readonly name: Name;
  readonly doc: string;
  readonly errors: readonly Codes[];
  readonly handle: (call: Call<Codes>, input: AdminInput<Name>) => Promise<AdminOutput<Name>> | AdminOutput<Name>;
}

export function adminAction<Name extends AdminActionName, const Codes extends ErrorCode>(entry: AdminEntry<Name, Codes>): AnyAction {
  const known = entry as unknown as AnyAction;
  return {
    ...known,
    roles: 'superuser',
    handle(call, input) {
      // A session that could make keys, or read them, would outlive its own end.
      if (call.principal.isTemporary) call.fail('UnauthorizedOperation', 'The Admin API takes no temporary keys.');
      return known.handle(call, input);
    },
  };
}

/** Clients of Nova's time send Python's `None` for what they leave out. */
export const given = (text: string | undefined): string | undefined => (text === undefined || text === '' || text === 'None' ? undefined : text);

/** `add`, which is meant when nothing is said, or `remove`. */
export function isAddition(call: Pick<Call<'InvalidParameterValue'>, 'fail'>, operation: string | undefined): boolean {
  const wanted = given(operation) ?? 'add';
  if (wanted !== 'add' && wanted !== 'remove') {
    call.fail('InvalidParameterValue', `Value (${wanted.slice(0, 60)}) for parameter Operation is invalid. Use add or remove.`);
  }
  return wanted === 'add';
}
