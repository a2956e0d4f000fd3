// SSH keys against ssh-keygen and openssl, the tools whose answers users compare ours with.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateSshKey, parseSshPublicKey } from '../../../src/lib/ssh-key.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ssh-key-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const run = (command: string, args: readonly string[], input?: Buffer): Buffer => execFileSync(command, args, input === undefined ? {} : { input });
const keep = (name: string, content: string): string => {
  const file = path.join(folder, name);
  writeFileSync(file, content, { mode: 0o600 });
  return file;
};
const colons = (output: Buffer): string => output.toString().trim().replace(/^.*= /, '');

describe('a generated key', () => {
  it('of RSA is a PKCS#1 file whose SHA-1 fingerprint openssl confirms and whose public line ssh-keygen derives', async () => {
    const key = await generateSshKey('rsa');
    expect(key.privateKey).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n[\s\S]+\n-----END RSA PRIVATE KEY-----$/);
    const file = keep('rsa.pem', `${key.privateKey}\n`);
    const der = run('openssl', ['pkcs8', '-in', file, '-inform', 'PEM', '-outform', 'DER', '-topk8', '-nocrypt']);
    expect(key.fingerprint).toBe(colons(run('openssl', ['sha1', '-c'], der)));
    expect(run('ssh-keygen', ['-y', '-f', file]).toString().trim()).toBe(key.line);
  });

  it('of ed25519 is an OpenSSH file that ssh-keygen reads, with the fingerprint it prints, padded', async () => {
    const key = await generateSshKey('ed25519');
    const file = keep('ed25519.pem', `${key.privateKey}\n`);
    expect(run('ssh-keygen', ['-y', '-f', file]).toString().trim()).toBe(key.line);
    const printed = run('ssh-keygen', ['-l', '-f', keep('ed25519.pub', key.line)]).toString();
    expect(printed).toContain(`SHA256:${key.fingerprint.replace(/=+$/, '')} `);
    expect(key.fingerprint).toMatch(/=$/);
  });
});

describe('an imported key', () => {
  const made = (type: string, bits: string): { line: string; file: string } => {
    const file = path.join(folder, `made-${type}-${bits}`);
    run('ssh-keygen', ['-q', '-t', type, '-b', bits, '-N', '', '-C', 'some one@a host', '-f', file]);
    return { file, line: readFileSync(`${file}.pub`, 'utf8') };
  };

  it('of RSA has the MD5 fingerprint of its SPKI form, in every form it comes in', () => {
    const { file, line } = made('rsa', '3072');
    const pem = run('ssh-keygen', ['-e', '-m', 'PKCS8', '-f', `${file}.pub`]);
    const der = run('openssl', ['pkey', '-pubin', '-pubout', '-outform', 'DER'], pem);
    const expected = { type: 'rsa', line: line.split(' ').slice(0, 2).join(' '), fingerprint: colons(run('openssl', ['md5', '-c'], der)) };
    const rfc4716 = run('ssh-keygen', ['-e', '-f', `${file}.pub`]);
    for (const form of [Buffer.from(line), Buffer.from(line.trim()), rfc4716, pem, Buffer.from(der.toString('base64')), der]) {
      expect(parseSshPublicKey(form)).toEqual(expected);
    }
  });

  it('of ed25519 has the SHA-256 fingerprint', () => {
    const { file, line } = made('ed25519', '256');
    const key = parseSshPublicKey(Buffer.from(line));
    expect(key?.type).toBe('ed25519');
    expect(run('ssh-keygen', ['-l', '-f', `${file}.pub`]).toString()).toContain(key?.fingerprint.replace(/=+$/, '') ?? 'nothing');
  });

  it('that is another kind, too short, cut off, two lines or no key at all is refused', () => {
    const { line } = made('rsa', '2048');
    const lying = line.replace('ssh-rsa', 'ssh-ed25519');
    const cut = line.split(' ').slice(0, 2).join(' ').slice(0, 200);
    const der512 = run('openssl', ['genrsa', '512']);
    const short = run('openssl', ['rsa', '-pubout'], der512);
    const refused = [made('ecdsa', '256').line, lying, cut, `${line}${line}`, short.toString(), 'ssh-rsa', 'ssh-rsa AAAA', '', 'nonsense', 'x'.repeat(20_000)];
    for (const text of refused) expect(parseSshPublicKey(Buffer.from(text)), text.slice(0, 60)).toBeUndefined();
  });
});
