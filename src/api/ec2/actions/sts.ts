// STS: who am I, and keys for a while. Terraform, Ansible and the aws command ask before anything else.
import { callerArn } from '../account-arns.ts';
import { action } from '../action.ts';

const hour = 3_600;
const durationSeconds = { min: 900, max: 36 * hour, usual: 12 * hour };

export const stsActions = [
  action({
    name: 'GetCallerIdentity',
    doc: 'The user and project that the access key stands for.',
    roles: 'anyMember',
    errors: [],
    handle: ({ principal }) => ({ UserId: principal.userId, Account: principal.projectId, Arn: callerArn(principal) }),
  }),
  action({
    name: 'GetSessionToken',
    doc: 'A temporary key with its token, for the caller in the project of this call. It ends by its time, or when the key that asked is disabled or deleted. '
      + 'There are no MFA devices: whoever names one is refused, as at AWS with a device that is not theirs.',
    roles: 'anyMember',
    errors: ['AccessDenied', 'ValidationError'],
    handle({ auth, clock, principal, fail }, input) {
      if (principal.isTemporary) fail('AccessDenied', 'Cannot call GetSessionToken with session credentials');
      if (input.SerialNumber !== undefined || input.TokenCode !== undefined) {
        fail('AccessDenied', 'MultiFactorAuthentication failed with invalid MFA one time pass code.');
      }
      const seconds = input.DurationSeconds ?? durationSeconds.usual;
      const { min, max } = durationSeconds;
      if (seconds < min || seconds > max) {
        const bound = seconds < min ? `greater than or equal to ${min}` : `less than or equal to ${max}`;
        fail('ValidationError', `1 validation error detected: Value '${seconds}' at 'durationSeconds' failed to satisfy constraint: `
          + `Member must have value ${bound}`);
      }
      const session = auth.issueSession({
        accessKeyId: principal.accessKeyId, projectId: principal.projectId, durationMs: seconds * 1_000, now: clock.now(),
      });
      return {
        Credentials: {
          AccessKeyId: session.accessKeyId, SecretAccessKey: session.secretAccessKey, SessionToken: session.sessionToken, Expiration: session.expiresAt,
        },
      };
    },
  }),
];
