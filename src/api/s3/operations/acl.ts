// ?acl: canned ACLs, in the header or as the grants that mean the same. Anything finer is refused.
import { setBucketAcl } from '../../../db/buckets.ts';
import { findObject, setObjectAcl } from '../../../db/objects.ts';
import { aclOf, requireBucket, type CannedAcl } from '../access.ts';
import type { Operation, S3Call } from '../call.ts';
import { fail } from '../errors.ts';
import { document, element, malformed, parseXml, type Xml, type XmlElement } from '../xml.ts';
import { owner } from './list-objects.ts';

const bodyBytesMax = 64 * 1024;
const groups = {
  everyone: 'http://acs.amazonaws.com/groups/global/AllUsers',
  authenticated: 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers',
} as const;

const schemaInstance = 'http://www.w3.org/2001/XMLSchema-instance';

export const getAcl: Operation = async (call) => {
  const bucket = await requireBucket(call, 'own');
  const acl = call.key === '' ? bucket.acl : (await requireKey(call)).acl;
  return {
    body: document('AccessControlPolicy', [
      owner(bucket.projectId),
      element('AccessControlList', [ownerGrant(bucket.projectId), ...groupGrants(acl)]),
    ]),
  };
};

export const putAcl: Operation = async (call) => {
  const bucket = await requireBucket(call, 'own');
  if (call.key !== '') await requireKey(call);
  const canned = aclOf(call);
  const body = await call.content.read(bodyBytesMax);
  const acl = body.length === 0 ? canned : cannedOf(await parseXml(body, 'AccessControlPolicy'), bucket.projectId);
  if (call.key === '') await setBucketAcl(call.db, call.bucket, acl);
  else if (!(await setObjectAcl(call.db, call.bucket, call.key, acl))) fail('NoSuchKey', 'The specified key does not exist.');
  return {};
};

async function requireKey(call: S3Call): Promise<{ acl: string }> {
  return (await findObject(call.db, call.bucket, call.key)) ?? fail('NoSuchKey', 'The specified key does not exist.');
}

function ownerGrant(projectId: string): Xml {
  const grantee = [element('ID', projectId), element('DisplayName', projectId)];
  return element('Grant', [element('Grantee', grantee, { 'xmlns:xsi': schemaInstance, 'xsi:type': 'CanonicalUser' }), element('Permission', 'FULL_CONTROL')]);
}

function groupGrant(uri: string, permission: string): Xml {
  const grantee = element('Grantee', [element('URI', uri)], { 'xmlns:xsi': schemaInstance, 'xsi:type': 'Group' });
  return element('Grant', [grantee, element('Permission', permission)]);
}

function groupGrants(acl: string): Xml[] {
  if (acl === 'public-read') return [groupGrant(groups.everyone, 'READ')];
  if (acl === 'public-read-write') return [groupGrant(groups.everyone, 'READ'), groupGrant(groups.everyone, 'WRITE')];
  return acl === 'authenticated-read' ? [groupGrant(groups.authenticated, 'READ')] : [];
}

/** s3cmd reads the grants, changes them and sends them back. The owner's full control cannot be taken away. */
function cannedOf(policy: XmlElement, ownerId: string): CannedAcl {
  const list = policy.all('AccessControlList')[0] ?? malformed();
  const given = new Set(list.all('Grant').flatMap((grant) => {
    const grantee = grant.all('Grantee')[0] ?? malformed();
    const permission = grant.textOf('Permission')?.trim() ?? malformed();
    const id = grantee.textOf('ID')?.trim();
    if (id === ownerId) return [];
    return [`${grantee.textOf('URI')?.trim() ?? id ?? ''} ${permission}`];
  }));
  const shape = [...given].toSorted().join(', ');
  if (shape === '') return 'private';
  if (shape === `${groups.everyone} READ`) return 'public-read';
  if (shape === `${groups.everyone} READ, ${groups.everyone} WRITE`) return 'public-read-write';
  if (shape === `${groups.authenticated} READ`) return 'authenticated-read';
  return fail('NotImplemented', 'Only grants that a canned ACL can express are implemented.');
}
