// The files for clients, as a shell and s3cmd read them.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { renderNovarc, renderS3cfg, shellQuoted, writeCredentials } from '../../../src/cli/credentials.ts';
import { loadSettings } from '../../../src/config/load.ts';

const around = { isRoot: true, home: '/root', hostname: 'host1', installation: '/opt/novact' };
const key = { userName: 'admin', projectName: "o'neil's", accessKeyId: 'AKIAEXAMPLE', secretKey: 'se-cret_key' };
const endpoints = { ec2: 'http://127.0.0.1:8773/', s3: 'http://127.0.0.1:3333' };
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'novact-novarc-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const settings = () => loadSettings({ environment: { NOVACT_STATE: folder }, directory: folder, around }).settings;

describe('novarc', () => {
  it('gives a shell what each client looks for', () => {
    const path = join(folder, 'novarc');
    writeFileSync(path, renderNovarc(settings(), endpoints, key));
    const seen = execFileSync('sh', ['-c', `. "$1" && env`, 'sh', path], { encoding: 'utf8' });
    for (const line of [
      'EC2_URL=http://127.0.0.1:8773/services/Cloud', 'S3_URL=http://127.0.0.1:3333', 'EC2_ACCESS_KEY=AKIAEXAMPLE', 'EC2_SECRET_KEY=se-cret_key',
      'AWS_ACCESS_KEY_ID=AKIAEXAMPLE', 'AWS_SECRET_ACCESS_KEY=se-cret_key', 'AWS_DEFAULT_REGION=nova', 'AWS_ENDPOINT_URL_EC2=http://127.0.0.1:8773/',
      'AWS_ENDPOINT_URL_S3=http://127.0.0.1:3333', 'AWS_ENDPOINT_URL_STS=http://127.0.0.1:8773/', "NOVA_PROJECT_ID=o'neil's",
    ]) expect(seen.split('\n')).toContain(line);
  });

  it('names the endpoint for an awscli that does not know the variables', () => {
    const path = join(folder, 'novarc');
    writeFileSync(path, renderNovarc(settings(), endpoints, key));
    writeFileSync(join(folder, 'aws'), '#!/bin/sh\necho "$@"\n', { mode: 0o755 });
    const aws = (args: string) => execFileSync('sh', ['-c', `. "$1"; PATH="$2:$PATH"; aws ${args}`, 'sh', path, folder], { encoding: 'utf8' }).trim();
    expect(aws('ec2 describe-images')).toBe('--endpoint-url http://127.0.0.1:8773/ ec2 describe-images');
    expect(aws('s3 ls')).toBe('--endpoint-url http://127.0.0.1:3333 s3 ls');
    expect(aws('s3 ls --endpoint-url http://x')).toBe('s3 ls --endpoint-url http://x');
  });
});

describe('the files', () => {
  it('are the owner\'s alone, and written again over older ones', async () => {
    await writeCredentials(settings(), endpoints, key);
    expect(existsSync(join(folder, 'cloud-cert.pem'))).toBe(false);
    await writeCredentials(settings(), endpoints, key, { bundling: 'a certificate' });
    expect(renderNovarc(settings(), endpoints, key)).toContain(`export EUCALYPTUS_CERT=${join(folder, 'cloud-cert.pem')}\n`);
    for (const name of ['novarc', 's3cfg', 'cloud-cert.pem']) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  });

  it('tell s3cmd host, port and scheme', () => {
    expect(renderS3cfg(settings(), endpoints, key)).toContain('host_base = 127.0.0.1:3333\nhost_bucket = 127.0.0.1:3333\nuse_https = False\n');
    expect(renderS3cfg(settings(), { ...endpoints, s3: 'https://s3.example' }, key)).toContain('use_https = True');
  });

  it('survive any text in a shell', () => {
    for (const text of ["it's", '$(id)', 'a b', '`x`', '"', '']) {
      expect(execFileSync('sh', ['-c', `printf %s ${shellQuoted(text)}`], { encoding: 'utf8' })).toBe(text);
    }
  });
});
