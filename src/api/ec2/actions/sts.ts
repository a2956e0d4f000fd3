// STS: who am I. Terraform, Ansible and the aws command ask before anything else.
import { action } from '../action.ts';

export const stsActions = [
  action({
    name: 'GetCallerIdentity',
    doc: 'The user and project that the access key stands for.',
    roles: 'anyMember',
    errors: [],
    handle({ principal }) {
      const name = principal.userName.replaceAll(/[^\w+=,.@-]/g, '_');
      return { UserId: principal.userId, Account: principal.projectId, Arn: `arn:aws:iam::${principal.projectId}:user/${name}` };
    },
  }),
];
