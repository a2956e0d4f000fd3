// The files that clients are pointed at: `novarc` for a shell, `s3cfg` for s3cmd, `cloud-cert.pem` for bundlers. Two of them hold the first
// user's secret, so all are the owner's alone.
import { randomBytes } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { statePaths, type Settings } from '../config/settings.ts';
import type { FounderKey } from './cloud.ts';

export type Endpoints = { readonly ec2: string; readonly s3: string };

/** What awscli, boto, euca2ools and the like look for. */
export function clientEnvironment({ region }: Pick<Settings, 'region'>, endpoints: Endpoints, key: FounderKey): Readonly<Record<string, string>> {
  return {
    EC2_URL: `${endpoints.ec2.replace(/\/$/, '')}/services/Cloud`,
    S3_URL: endpoints.s3,
    EC2_ACCESS_KEY: key.accessKeyId,
    EC2_SECRET_KEY: key.secretKey,
    AWS_ACCESS_KEY_ID: key.accessKeyId,
    AWS_SECRET_ACCESS_KEY: key.secretKey,
    AWS_DEFAULT_REGION: region,
    AWS_REGION: region,
    AWS_ENDPOINT_URL_EC2: endpoints.ec2,
    AWS_ENDPOINT_URL_S3: endpoints.s3,
    AWS_ENDPOINT_URL_STS: endpoints.ec2,
    AWS_ENDPOINT_URL_IAM: endpoints.ec2,
    AWS_EC2_METADATA_DISABLED: 'true',
    NOVA_PROJECT_ID: key.projectName,
    NOVA_USERNAME: key.userName,
  };
}

export const shellExports = (values: Readonly<Record<string, string>>): string[] =>
  Object.entries(values).map(([name, value]) => `export ${name}=${shellQuoted(value)}`);

/** awscli before 2.13, Debian 12's among them, knows no AWS_ENDPOINT_URL_…: a function of the shell names the endpoint instead. */
export const awsFunction: readonly string[] = [
  '# awscli older than 2.13 (Debian 12 has 2.9) does not read AWS_ENDPOINT_URL_*: these name the endpoint for it.',
  `aws() {`,
  `  case " $* " in *" --endpoint-url"*) command aws "$@" ;;`,
  `    *" s3 "* | *" s3api "*) command aws --endpoint-url "$AWS_ENDPOINT_URL_S3" "$@" ;;`,
  `    *) command aws --endpoint-url "$AWS_ENDPOINT_URL_EC2" "$@" ;;`,
  `  esac`,
  `}`,
];

/** Shell exports for the first user. */
export function renderNovarc(settings: Pick<Settings, 'region' | 'state'>, endpoints: Endpoints, key: FounderKey): string {
  const { novarc, s3cfg, cloudCertificate } = statePaths(settings);
  const lines = shellExports({ ...clientEnvironment(settings, endpoints, key), S3CMD_CONFIG: s3cfg, EUCALYPTUS_CERT: cloudCertificate });
  const head = `# novact: the key of ${key.userName} in the project ${key.projectName}. Use it with: . ${shellQuoted(novarc)}`;
  return [head, ...lines, ...awsFunction, `s3cmd() { command s3cmd -c "$S3CMD_CONFIG" "$@"; }`, ''].join('\n');
}

/** s3cmd's configuration: path-style, Signature V4, plain HTTP where the endpoint is. */
export function renderS3cfg(settings: Pick<Settings, 'region'>, endpoints: Endpoints, key: FounderKey): string {
  const url = new URL(endpoints.s3);
  const isSecure = url.protocol === 'https:';
  const values: Readonly<Record<string, string>> = {
    access_key: key.accessKeyId,
    secret_key: key.secretKey,
    bucket_location: settings.region,
    host_base: url.host,
    host_bucket: url.host,
    use_https: isSecure ? 'True' : 'False',
    signature_v2: 'False',
    check_ssl_certificate: isSecure ? 'True' : 'False',
  };
  return ['[default]', ...Object.entries(values).map(([name, value]) => `${name} = ${value}`), ''].join('\n');
}

/** After: `novarc`, `s3cfg` and, where it is given, `cloud-cert.pem` lie in the state folder, mode 0600, whole at every moment. */
export async function writeCredentials(settings: Settings, endpoints: Endpoints, key: FounderKey, bundlingCertificate?: string): Promise<void> {
  const paths = statePaths(settings);
  if (bundlingCertificate !== undefined) await writeOwned(paths.cloudCertificate, bundlingCertificate);
  await writeOwned(paths.novarc, renderNovarc(settings, endpoints, key));
  await writeOwned(paths.s3cfg, renderS3cfg(settings, endpoints, key));
}

async function writeOwned(path: string, content: string): Promise<void> {
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  await writeFile(draft, content, { mode: 0o600, flag: 'wx' });
  await rename(draft, path);
}

/** For any POSIX shell. */
export const shellQuoted = (text: string): string => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
