// The files that clients are pointed at: `novarc` for a shell, `s3cfg` for s3cmd, `cloud-cert.pem` for bundlers, and `ca.pem` for all when the
// endpoints speak TLS. Two of them hold the first user's secret, so all but `ca.pem` are the owner's alone.
import { randomBytes } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { statePaths, type Settings } from '../config/settings.ts';
import type { CloudCertificates, FounderKey } from './cloud.ts';

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

/** Where clients learn whom to believe: awscli, boto3 and Terraform by the first, AWS's SDK for JavaScript by the second. */
export const trustEnvironment = (path: string): Readonly<Record<string, string>> => ({ AWS_CA_BUNDLE: path, NODE_EXTRA_CA_CERTS: path });

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

type ClientSettings = Pick<Settings, 'region' | 'state' | 'tls'>;

/** Shell exports for the first user. */
export function renderNovarc(settings: ClientSettings, endpoints: Endpoints, key: FounderKey): string {
  const { novarc, s3cfg, cloudCertificate, authority } = statePaths(settings);
  const trust = settings.tls === 'no' ? {} : trustEnvironment(authority);
  const lines = shellExports({ ...clientEnvironment(settings, endpoints, key), ...trust, S3CMD_CONFIG: s3cfg, EUCALYPTUS_CERT: cloudCertificate });
  const head = `# novact: the key of ${key.userName} in the project ${key.projectName}. Use it with: . ${shellQuoted(novarc)}`;
  return [head, ...lines, ...awsFunction, `s3cmd() { command s3cmd -c "$S3CMD_CONFIG" "$@"; }`, ''].join('\n');
}

/** s3cmd's configuration: path-style, Signature V4, plain HTTP where the endpoint is. */
export function renderS3cfg(settings: ClientSettings, endpoints: Endpoints, key: FounderKey): string {
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
    ...(settings.tls === 'no' ? {} : { ca_certs_file: statePaths(settings).authority }),
  };
  return ['[default]', ...Object.entries(values).map(([name, value]) => `${name} = ${value}`), ''].join('\n');
}

/** After: `novarc`, `s3cfg` and the certificates that are given lie in the state folder, whole at every moment. */
export async function writeCredentials(settings: Settings, endpoints: Endpoints, key: FounderKey, certificates: CloudCertificates = {}): Promise<void> {
  const paths = statePaths(settings);
  if (certificates.bundling !== undefined) await writeWhole(paths.cloudCertificate, certificates.bundling);
  if (certificates.authority !== undefined) await writeWhole(paths.authority, certificates.authority, 0o644);
  await writeWhole(paths.novarc, renderNovarc(settings, endpoints, key));
  await writeWhole(paths.s3cfg, renderS3cfg(settings, endpoints, key));
}

async function writeWhole(path: string, content: string, mode = 0o600): Promise<void> {
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  await writeFile(draft, content, { mode, flag: 'wx' });
  await rename(draft, path);
}

/** For any POSIX shell. */
export const shellQuoted = (text: string): string => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
