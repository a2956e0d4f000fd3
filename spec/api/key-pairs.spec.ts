// Key pairs over the dispatcher and a real database.
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, createEc2Lab, items, type Ec2Lab } from '../support/ec2.ts';

let lab: Ec2Lab;
beforeAll(async () => {
  lab = await createEc2Lab();
});
afterAll(() => lab.close());

const importable = (): string => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return publicKey.export({ type: 'spki', format: 'pem' }).toString();
};
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('a key pair', () => {
  it('is made once, with its private half, and seen without it', async () => {
    const made = await lab.ask('CreateKeyPair',
      { KeyName: 'web', 'TagSpecification.1.ResourceType': 'key-pair', 'TagSpecification.1.Tag.1.Key': 'a', 'TagSpecification.1.Tag.1.Value': 'b' });
    expect(made['keyMaterial']).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n/);
    expect(made['keyFingerprint']).toMatch(/^([0-9a-f]{2}:){19}[0-9a-f]{2}$/);
    const seen = await lab.ask('DescribeKeyPairs', { 'KeyName.1': 'web', IncludePublicKey: true });
    expect(items(seen, 'keySet')).toMatchObject([{ keyName: 'web', keyType: 'rsa', keyFingerprint: made['keyFingerprint'], keyPairId: made['keyPairId'],
      tagSet: { item: [{ key: 'a', value: 'b' }] } }]);
    expect(at(seen, 'keySet', 'item', 0, 'publicKey')).toMatch(/^ssh-rsa \S+ web$/);
    expect(await lab.codeOf('CreateKeyPair', { KeyName: 'web' })).toBe('InvalidKeyPair.Duplicate');
    expect(JSON.stringify(seen)).not.toContain('PRIVATE');
  });

  it('of ed25519 is one that ssh-keygen reads', async () => {
    const made = await lab.ask('CreateKeyPair', { KeyName: 'ed', KeyType: 'ed25519' });
    const line = execFileSync('sh', ['-c', 'f=$(mktemp); cat > $f; ssh-keygen -y -f $f; rm $f'], { input: String(made['keyMaterial']) }).toString();
    const seen = await lab.ask('DescribeKeyPairs', { 'KeyPairId.1': String(made['keyPairId']), IncludePublicKey: true });
    expect(`${line.trim()} ed`).toBe(at(seen, 'keySet', 'item', 0, 'publicKey'));
  });

  it('is imported in its forms, and refused when it is none', async () => {
    const imported = await lab.ask('ImportKeyPair', { KeyName: 'mine', PublicKeyMaterial: base64(importable()) });
    expect(imported['keyFingerprint']).toMatch(/^([0-9a-f]{2}:){15}[0-9a-f]{2}$/);
    expect(await lab.codeOf('ImportKeyPair', { KeyName: 'mine', PublicKeyMaterial: base64(importable()) })).toBe('InvalidKeyPair.Duplicate');
    expect(await lab.codeOf('ImportKeyPair', { KeyName: 'other', PublicKeyMaterial: base64('ssh-rsa nonsense') })).toBe('InvalidKey.Format');
    expect(await lab.codeOf('ImportKeyPair', { KeyName: 'other' })).toBe('MissingParameter');
  });

  it('is forgotten, and forgetting an absent one is no error', async () => {
    const made = await lab.ask('CreateKeyPair', { KeyName: 'gone' });
    expect(await lab.ask('DeleteKeyPair', { KeyName: 'gone' })).toMatchObject({ return: 'true', keyPairId: made['keyPairId'] });
    expect(await lab.ask('DeleteKeyPair', { KeyName: 'gone' })).toMatchObject({ return: 'true' });
    expect(await lab.codeOf('DescribeKeyPairs', { 'KeyName.1': 'gone' })).toBe('InvalidKeyPair.NotFound');
    expect(await lab.codeOf('DeleteKeyPair')).toBe('MissingParameter');
  });

  it('is not seen, used or deleted from another project', async () => {
    await lab.ask('CreateKeyPair', { KeyName: 'private', KeyType: 'ed25519' });
    expect(items(await lab.ask('DescribeKeyPairs', {}, lab.bob), 'keySet')).toEqual([]);
    await lab.ask('DeleteKeyPair', { KeyName: 'private' }, lab.bob);
    expect(await lab.codeOf('DescribeKeyPairs', { 'KeyName.1': 'private' })).toBe('ok');
    expect(await lab.codeOf('CreateKeyPair', { KeyName: 'private', KeyType: 'ed25519' }, lab.bob)).toBe('ok');
  });

  it('has a name that survives unchanged, and that cannot smuggle a line into authorized_keys', async () => {
    for (const name of ['0123', 'None', '1e3', 'True', 'a b']) {
      const made = await lab.ask('CreateKeyPair', { KeyName: name, KeyType: 'ed25519' });
      expect(made['keyName']).toBe(name);
    }
    for (const name of ['a\nssh-rsa AAAA', 'é', ' a', 'a ', 'x'.repeat(256)]) expect(await lab.codeOf('CreateKeyPair', { KeyName: name }),
      name).toBe('InvalidParameterValue');
    expect(await lab.codeOf('CreateKeyPair', { KeyName: 'x', KeyType: 'dsa' })).toBe('InvalidParameterValue');
    expect(await lab.codeOf('CreateKeyPair', { KeyName: 'x', KeyFormat: 'ppk' })).toBe('UnsupportedOperation');
    expect(await lab.codeOf('CreateKeyPair', { KeyName: '' })).toBe('MissingParameter');
  });

  it('of one name is made once by two at the same time', async () => {
    const codes = await Promise.all([1, 2, 3].map(() => lab.codeOf('CreateKeyPair', { KeyName: 'race', KeyType: 'ed25519' })));
    expect(codes.toSorted()).toEqual(['InvalidKeyPair.Duplicate', 'InvalidKeyPair.Duplicate', 'ok']);
  });
});
