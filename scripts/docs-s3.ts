// Writes docs/reference/s3.md: what of AWS's S3 is built, from the table of routes and the list of operations of AWS's own SDK.
import * as sdk from '@aws-sdk/client-s3';
import { policyActions } from '../src/api/s3/access.ts';
import { conditionKeys } from '../src/api/s3/policy/condition-keys.ts';
import { operatorNames } from '../src/api/s3/policy/operators.ts';
import { builtOperations, subResources, type OperationSample } from '../src/api/s3/routes.ts';
import { subResourceOperation } from '../src/api/s3/operations/sub-resources.ts';

const code = (text: string): string => `\`${text}\``;

const paths = { service: '/', bucket: '/BUCKET', object: '/BUCKET/KEY' } as const;

function requestText({ method, of, query, headers }: OperationSample): string {
  const names = Object.keys(headers);
  return `${code(`${method} ${paths[of]}${query === '' ? '' : `?${query}`}`)}${names.length === 0 ? '' : ` with ${names.map(code).join(', ')}`}`;
}

/** `?accelerate`, in the words of whoever asks for it. */
const unset = (method: string, ofKey: boolean): string[] =>
  [...subResources].filter((name) => subResourceOperation(name, method, ofKey) !== undefined).map((name) => code(`?${name}`));

/** The text of the page. */
export function s3ReferenceText(notice: string): string {
  const built = builtOperations().toSorted((one, other) => (one.name < other.name ? -1 : 1));
  const names = new Set(built.map(({ name }) => name));
  const known = Object.keys(sdk).filter((name) => /^\w+Command$/.test(name)).map((name) => name.slice(0, -'Command'.length)).toSorted();
  const absent = known.filter((name) => !names.has(name));
  return `# S3 operations

${notice} From \`src/api/s3/routes.ts\` and the operations of AWS's SDK.

${built.length} operations are built. ${absent.length} of the ${known.length} of AWS's SDK are not, and answer \`NotImplemented\` (501), but those that
read what is never set here. Why S3 answers as it does: [decision 5](../decisions/0005-s3-answers.md), [decision 20](../decisions/0020-objects-in-versions.md);
where it is otherwise than AWS: [the guide](../guide/novact-and-aws.md).

| operation | request |
|---|---|
${built.map((sample) => `| ${sample.name} | ${requestText(sample)} |`).join('\n')}

## Read as not set
Tools ask for these of every bucket: GET of ${unset('GET', false).join(', ')}; of an object
${unset('GET', true).join(', ')}. They answer as AWS does where nothing is set; DELETE of
${unset('DELETE', false).join(', ')} is no error. Setting any is \`NotImplemented\`.

## Bucket policies
- At most 20 KiB, 100 statements, 500 values in a list. What novact does not know is refused when the policy is put (\`MalformedPolicy\`).
- Principals: \`*\`, a project's id (\`111122223333\`, \`arn:aws:iam::111122223333:root\`), a user in a project (\`arn:aws:iam::111122223333:user/NAME\`).
- Actions: ${policyActions.map(code).join(', ')}; with wildcards. Others may be named, and are never asked for.
- Operators: ${operatorNames.map(code).join(', ')}, each with \`IfExists\` (but \`Null\`), \`ForAnyValue:\` and \`ForAllValues:\`.
- Keys: ${conditionKeys.map(code).join(', ')}. In a policy of version 2012-10-17 \`\${KEY}\` stands for the request's value in resources and conditions.

## Not built
${absent.join(', ')}
`;
}
