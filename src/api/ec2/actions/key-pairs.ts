// Key pairs: made here, of which we keep the public half only, or brought along. Names are of the project.
import { deleteKeyPair, findKeyPair, insertKeyPair, keyPairsOf, type KeyPair } from '../../../db/key-pairs.ts';
import { tagsOf, type TagText } from '../../../db/tags.ts';
import { newId } from '../../../lib/ids.ts';
import { generateSshKey, parseSshPublicKey, type SshKeyType, type SshPublicKey } from '../../../lib/ssh-key.ts';
import { action, fail, type Call, type Filters } from '../action.ts';
import { describe, doesNotExist } from '../describe.ts';
import { tagsFor } from '../tag-specifications.ts';

interface TaggedKeyPair extends KeyPair {
  readonly tags: readonly TagText[];
}

const filters: Filters<TaggedKeyPair> = {
  'key-pair-id': (key) => key.id,
  'key-name': (key) => key.name,
  fingerprint: (key) => key.fingerprint,
};

const create = action({
  name: 'CreateKeyPair',
  doc: 'Makes a key pair (RSA with 2048 bits, or ed25519), keeps its public half and answers with the private one, once.',
  roles: 'anyMember',
  errors: ['InvalidKeyPair.Duplicate', 'InvalidParameterValue', 'MissingParameter', 'ResourceLimitExceeded', 'TagLimitExceeded', 'UnsupportedOperation'],
  async handle(call, input) {
    const name = checkName(input.KeyName);
    const type = checkType(input.KeyType);
    if (input.KeyFormat !== undefined && input.KeyFormat !== 'pem') {
      if (input.KeyFormat === 'ppk') return call.fail('UnsupportedOperation', "The key format 'ppk' is not supported. Use 'pem', and puttygen to convert it.");
      return call.fail('InvalidParameterValue', `Value (${String(input.KeyFormat)}) for parameter KeyFormat is invalid. Valid values: pem.`);
    }
    const tags = tagsFor(input.TagSpecifications, 'key-pair');
    // Generating costs a good part of a second, so a name that is taken is noticed first; the insert decides.
    if ((await findKeyPair(call.db, call.principal.projectId, name)) !== undefined) failDuplicate(name);
    const key = await generateSshKey(type);
    const id = await keep(call, { name, key, tags });
    return { KeyPairId: id, KeyName: name, KeyFingerprint: key.fingerprint, KeyMaterial: key.privateKey, Tags: tags };
  },
});

const importOne = action({
  name: 'ImportKeyPair',
  doc: 'Keeps a public key that the client made: an OpenSSH line, RFC 4716, PEM, or base64 of its DER form.',
  roles: 'anyMember',
  errors: ['InvalidKey.Format', 'InvalidKeyPair.Duplicate', 'InvalidParameterValue', 'MissingParameter', 'ResourceLimitExceeded', 'TagLimitExceeded'],
  async handle(call, input) {
    const name = checkName(input.KeyName);
    const tags = tagsFor(input.TagSpecifications, 'key-pair');
    if (input.PublicKeyMaterial === undefined) return call.fail('MissingParameter', 'The request must contain the parameter PublicKeyMaterial');
    const key = parseSshPublicKey(input.PublicKeyMaterial);
    if (key === undefined) return call.fail('InvalidKey.Format', 'Key is not in valid OpenSSH public key format');
    const id = await keep(call, { name, key, tags });
    return { KeyPairId: id, KeyName: name, KeyFingerprint: key.fingerprint, Tags: tags };
  },
});

const remove = action({
  name: 'DeleteKeyPair',
  doc: 'Forgets a key pair. Running instances keep the public key that they were launched with. An absent key pair is no error.',
  roles: 'anyMember',
  errors: ['MissingParameter'],
  async handle(call, input) {
    const { projectId } = call.principal;
    if (input.KeyPairId !== undefined) return { Return: true, KeyPairId: await deleteKeyPair(call.db, projectId, { id: input.KeyPairId }) };
    if (input.KeyName === undefined) return call.fail('MissingParameter', 'The request must contain the parameter KeyName or KeyPairId');
    return { Return: true, KeyPairId: await deleteKeyPair(call.db, projectId, { name: input.KeyName }) };
  },
});

const describeAll = action({
  name: 'DescribeKeyPairs',
  doc: 'The key pairs of the project.',
  roles: 'anyMember',
  errors: ['InvalidKeyPair.NotFound', 'InvalidParameterValue'],
  filters: Object.keys(filters),
  async handle(call, input) {
    const { projectId } = call.principal;
    const keys = await keyPairsOf(call.db, projectId);
    const tags = await tagsOf(call.db, projectId, keys.map((key) => key.id));
    const page = describe<TaggedKeyPair>({
      input,
      items: keys.map((key) => ({ ...key, tags: tags.get(key.id) ?? [] })),
      id: (key) => key.id,
      cursor: (key) => key.name,
      ids: [
        { values: input.KeyNames, of: (key) => key.name, notFound: { code: 'InvalidKeyPair.NotFound', message: doesNotExist('key pair') } },
        { values: input.KeyPairIds, notFound: { code: 'InvalidKeyPair.NotFound', message: doesNotExist('key pair ID') } },
      ],
      filters,
      tags: (key) => key.tags,
    });
    const shown = (key: TaggedKeyPair) => ({
      KeyPairId: key.id,
      KeyName: key.name,
      KeyType: key.type,
      KeyFingerprint: key.fingerprint,
      CreateTime: key.createdAt,
      Tags: [...key.tags],
      PublicKey: input.IncludePublicKey === true ? key.publicKey : undefined,
    });
    return { KeyPairs: page.items.map(shown) };
  },
});

export const keyPairActions = [create, importOne, remove, describeAll] as const;

async function keep(call: Call, made: { name: string; key: SshPublicKey; tags: readonly TagText[] }): Promise<string> {
  const { key, name } = made;
  const row: KeyPair = {
    id: newId('key'),
    projectId: call.principal.projectId,
    userId: call.principal.userId,
    name,
    type: key.type,
    fingerprint: key.fingerprint,
    publicKey: `${key.line} ${name}`,
    createdAt: call.clock.date(),
  };
  const result = await insertKeyPair(call.db, row, { tags: made.tags, quota: call.keyPairsPerProjectMax });
  if (result.outcome === 'duplicate') failDuplicate(name);
  if (result.outcome === 'overQuota') fail('ResourceLimitExceeded', `You have reached the maximum number of key pairs (${result.limit}).`);
  return row.id;
}

const failDuplicate = (name: string): never => fail('InvalidKeyPair.Duplicate', `The keypair '${name}' already exists.`);

/** The name becomes the comment of a line in authorized_keys, so nothing but printable ASCII may pass. */
function checkName(name: string | undefined): string {
  if (name === undefined || name === '') return fail('MissingParameter', 'The request must contain the parameter KeyName');
  if (name.length > 255) return fail('InvalidParameterValue', 'Value for parameter KeyName is invalid. Length exceeds maximum of 255.');
  if (!/^[\x20-\x7e]+$/.test(name)) return fail('InvalidParameterValue',
    'Value for parameter KeyName is invalid. Only printable ASCII characters are allowed.');
  if (name.trim() !== name) return fail('InvalidParameterValue', `Value (${name}) for parameter KeyName is invalid. It must not begin or end with a space.`);
  return name;
}

function checkType(type: string | undefined): SshKeyType {
  if (type === undefined) return 'rsa';
  if (type === 'rsa' || type === 'ed25519') return type;
  return fail('InvalidParameterValue', `Value (${type.slice(0, 60)}) for parameter KeyType is invalid. Valid values: rsa, ed25519.`);
}
