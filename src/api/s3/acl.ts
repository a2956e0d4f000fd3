// Access control lists: whom they let do what, how clients write them (a canned name, grants in headers, XML), and how they are kept:
// as the name of a canned ACL wherever one says the same, else as JSON.
import type { Principal } from '../../auth/principal.ts';
import { existingProjects } from '../../db/images.ts';
import { header, type S3Call } from './call.ts';
import { fail } from './errors.ts';
import { element, malformed, type Xml, type XmlElement } from './xml.ts';

export const permissions = ['FULL_CONTROL', 'READ', 'WRITE', 'READ_ACP', 'WRITE_ACP'] as const;
export type Permission = (typeof permissions)[number];

/** The URI of a group, or the id of a project. */
export interface Grant {
  readonly grantee: string;
  readonly permission: Permission;
}

/** AWS's canned ACLs. Those that only say something about a foreign owner mean `private` here. */
const cannedAcls = [
  'private', 'public-read', 'public-read-write', 'authenticated-read', 'aws-exec-read', 'bucket-owner-read', 'bucket-owner-full-control', 'log-delivery-write',
] as const;

export const groups = {
  everyone: 'http://acs.amazonaws.com/groups/global/AllUsers',
  authenticated: 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers',
  logs: 'http://acs.amazonaws.com/groups/s3/LogDelivery',
} as const;

const grantsMax = 100;

const cannedGrants: Readonly<Record<string, readonly Grant[]>> = {
  'public-read': [{ grantee: groups.everyone, permission: 'READ' }],
  'public-read-write': [{ grantee: groups.everyone, permission: 'READ' }, { grantee: groups.everyone, permission: 'WRITE' }],
  'authenticated-read': [{ grantee: groups.authenticated, permission: 'READ' }],
  'log-delivery-write': [{ grantee: groups.logs, permission: 'WRITE' }, { grantee: groups.logs, permission: 'READ_ACP' }],
};

/** What is kept, as grants; the owner's own full control is among them. */
export function grantsOf(acl: string, ownerId: string): readonly Grant[] {
  if (acl.startsWith('[')) return JSON.parse(acl) as Grant[];
  return [{ grantee: ownerId, permission: 'FULL_CONTROL' }, ...(Object.hasOwn(cannedGrants, acl) ? (cannedGrants[acl] ?? []) : [])];
}

/** Whether the ACL lets somebody other than the owner do that. */
export function aclAllows(acl: string, permission: Permission, principal: Principal | undefined): boolean {
  return grantsOf(acl, '').some((grant) => (grant.permission === permission || grant.permission === 'FULL_CONTROL') && names(grant.grantee, principal));
}

function names(grantee: string, principal: Principal | undefined): boolean {
  if (grantee === groups.everyone) return true;
  return principal !== undefined && (grantee === groups.authenticated || grantee === principal.projectId);
}

const shapeOf = (grants: readonly Grant[]): string => grants.map(({ grantee, permission }) => `${grantee} ${permission}`).toSorted().join('\n');

/** How the grants are kept. */
function keptAcl(grants: readonly Grant[], ownerId: string): string {
  const shape = shapeOf(grants);
  return ['private', ...Object.keys(cannedGrants)].find((name) => shapeOf(grantsOf(name, ownerId)) === shape) ?? JSON.stringify(grants);
}

const grantHeaders: Readonly<Record<string, Permission>> = {
  'x-amz-grant-full-control': 'FULL_CONTROL', 'x-amz-grant-read': 'READ', 'x-amz-grant-write': 'WRITE', 'x-amz-grant-read-acp': 'READ_ACP',
  'x-amz-grant-write-acp': 'WRITE_ACP',
};

/** The ACL that the headers of a request ask for. Undefined: they ask for none. */
export async function headerAcl(call: S3Call, ownerId: string): Promise<string | undefined> {
  const asked = header(call, 'x-amz-acl');
  const grants = Object.entries(grantHeaders).flatMap(([name, permission]) => {
    const text = header(call, name);
    return text === undefined ? [] : granteesIn(text).map((grantee) => ({ grantee, permission }));
  });
  if (grants.length > 0) {
    if (asked !== undefined) fail('InvalidRequest', 'Specifying both Canned ACLs and Header Grants is not allowed');
    await checkGrants(call, grants);
    return keptAcl(grants, ownerId);
  }
  if (asked === undefined) return undefined;
  return cannedAcls.find((acl) => acl === asked) ?? fail('InvalidArgument', 'x-amz-acl must name a canned ACL.');
}

/** `id="111122223333", uri="http://…"` */
function granteesIn(text: string): string[] {
  return text.split(',').map((item) => {
    const [, kind = '', value = ''] = /^\s*(id|uri|emailaddress)\s*=\s*"?([^"]*)"?\s*$/i.exec(item) ?? [];
    if (kind === '') fail('InvalidArgument', 'Argument format not recognized');
    return granteeOf(kind.toLowerCase() === 'emailaddress' ? { email: value } : kind.toLowerCase() === 'uri' ? { uri: value } : { id: value });
  });
}

function granteeOf(said: { id?: string | undefined; uri?: string | undefined; email?: string | undefined }): string {
  if (said.email !== undefined) fail('UnresolvableGrantByEmailAddress', 'The e-mail address you provided does not match any account on record.');
  if (said.uri !== undefined) return Object.values<string>(groups).includes(said.uri) ? said.uri : fail('InvalidArgument', 'Invalid group uri');
  return said.id ?? malformed();
}

/** Every project that is named must be there. */
async function checkGrants(call: S3Call, grants: readonly Grant[]): Promise<void> {
  if (grants.length > grantsMax) fail('MalformedACLError', `An ACL has at most ${grantsMax} grants.`);
  const ids = [...new Set(grants.map((grant) => grant.grantee))].filter((grantee) => !grantee.startsWith('http'));
  const known = await existingProjects(call.db, ids);
  if (ids.some((id) => !known.has(id))) fail('InvalidArgument', 'Invalid id');
}

/** The ACL in the body of a request, which names the owner that the resource has. */
export async function xmlAcl(call: S3Call, policy: XmlElement, ownerId: string): Promise<string> {
  const said = policy.all('Owner')[0]?.textOf('ID')?.trim();
  if (said !== undefined && said !== '' && said !== ownerId) fail('AccessDenied', 'Access Denied');
  const list = policy.all('AccessControlList')[0] ?? malformed();
  const grants = list.all('Grant').map((grant) => {
    const grantee = grant.all('Grantee')[0] ?? malformed();
    const permission = permissions.find((name) => name === grant.textOf('Permission')?.trim()) ?? malformed();
    const [id, uri, email] = ['ID', 'URI', 'EmailAddress'].map((name) => grantee.textOf(name)?.trim());
    return { grantee: granteeOf({ id, uri, email }), permission };
  });
  await checkGrants(call, grants);
  return keptAcl(grants, ownerId);
}

const schemaInstance = 'http://www.w3.org/2001/XMLSchema-instance';

export function grantXml({ grantee, permission }: Grant): Xml {
  const isGroup = grantee.startsWith('http');
  const named = isGroup ? [element('URI', grantee)] : [element('ID', grantee), element('DisplayName', grantee)];
  const attributes = { 'xmlns:xsi': schemaInstance, 'xsi:type': isGroup ? 'Group' : 'CanonicalUser' };
  return element('Grant', [element('Grantee', named, attributes), element('Permission', permission)]);
}
