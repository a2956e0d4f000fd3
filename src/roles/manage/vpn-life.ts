// What happens to a project's VPN: its authority is made below the cloud's, certificates are given out and taken back. Keys that are kept are sealed
// with the master key.
import { randomBytes } from 'node:crypto';
import { projectNetworksOf } from '../../config/settings.ts';
import { sealedPart } from '../../actors/vpn/ensure-vpns.ts';
import { selectProject } from '../../db/identity.ts';
import { findHost } from '../../db/host-work.ts';
import { findVpn, insertVpn, insertVpnCertificate, revokeVpnCertificate, type Vpn, type VpnCertificate } from '../../db/vpns.ts';
import { ensureDefaultVpc } from '../../db/vpcs.ts';
import { createOpensslCertificates } from '../../drivers/certificates/openssl.ts';
import type { KeyAndCertificate, Revoked } from '../../drivers/certificates/driver.ts';
import { renderClient } from '../../drivers/vpn/configuration.ts';
import { SetupError } from '../../lib/errors.ts';
import { newId } from '../../lib/ids.ts';
import { networkProtocol } from '../../messages/network.ts';
import { authorityDays, rootAuthority } from './authority-life.ts';
import type { ManageDeps } from './deps.ts';

export async function projectOf({ db }: ManageDeps, name: string): Promise<{ id: string; name: string }> {
  const project = await selectProject(db, name);
  if (project === undefined) throw new SetupError(`there is no project ${name}`, 'Name one by its name or its id.');
  return project;
}

export async function vpnOf(deps: ManageDeps, name: string): Promise<Vpn> {
  const project = await projectOf(deps, name);
  const vpn = await findVpn(deps.db, project.id);
  if (vpn === undefined) throw new SetupError(`the project ${name} has no VPN`, `\`novact manage vpn create ${name}\` makes one.`);
  return vpn;
}

/** Where clients find the host, when the operator does not say it. */
export async function addressOf({ db, settings }: Pick<ManageDeps, 'db' | 'settings'>, host: string): Promise<string> {
  const address = (await findHost(db, host))?.address ?? (host === settings.host ? settings.address : undefined);
  if (address === undefined || address === null) throw new SetupError(`the address of ${host} is not known`, 'Say with --address where clients find it.');
  return address;
}

export interface VpnWish {
  readonly project: string;
  readonly host: string;
  readonly address: string;
  readonly port: number;
}

export async function createVpn(deps: ManageDeps, wish: VpnWish): Promise<Vpn> {
  const { db, sealer, clock, run } = deps;
  const project = await projectOf(deps, wish.project);
  const now = clock.date();
  const projectNetworks = projectNetworksOf(deps.settings);
  if ((await ensureDefaultVpc(db, { projectId: project.id, zone: deps.settings.zone, now, projectNetworks })) === undefined) {
    throw new SetupError('there is no network for the project yet', 'Start a network role, or widen the range of segments; then ask again.');
  }
  const certificates = createOpensslCertificates({ run });
  const root = await rootAuthority(deps);
  const authority = await certificates.createAuthority({ name: `novact project ${project.id}`, days: authorityDays, issuer: root });
  const server = await certificates.issue({ name: 'server', days: authorityDays, usage: 'server', issuer: authority });
  const id = newId('vpn');
  const lists = [await certificates.revocations(root, [], now), await certificates.revocations(authority, [], now)];
  const result = await insertVpn(db, {
    id, projectId: project.id, host: wish.host, address: wish.address, port: wish.port, createdAt: now,
    authority: authority.certificate + root.certificate,
    sealedAuthorityKey: sealer.seal(authority.key, sealedPart(id, 'authority')),
    certificate: server.certificate,
    sealedKey: sealer.seal(server.key, sealedPart(id, 'server')),
    sealedControlKey: sealer.seal(newControlKey(), sealedPart(id, 'control')),
    revocations: lists.join(''),
  });
  if (result.outcome === 'exists') throw new SetupError(`the project ${wish.project} has a VPN already`, 'A project has one; delete it first.');
  if (result.outcome === 'portTaken') throw new SetupError(`another VPN of ${wish.host} has the port ${wish.port}`, 'Give another one with --port.');
  if (result.outcome === 'full') throw new SetupError('the cloud has as many VPNs as it can have', 'Delete one that is not used.');
  await tellHost(deps, wish.host);
  return result.vpn;
}

/** OpenVPN's form of a shared key. */
function newControlKey(): string {
  const lines = randomBytes(256).toString('hex').match(/.{32}/g) ?? [];
  return `-----BEGIN OpenVPN Static key V1-----\n${lines.join('\n')}\n-----END OpenVPN Static key V1-----\n`;
}

const authorityOf = ({ sealer }: ManageDeps, vpn: Vpn): KeyAndCertificate =>
  ({ certificate: vpn.authority, key: sealer.open(vpn.sealedAuthorityKey, sealedPart(vpn.id, 'authority')) });

/** A new certificate as the one file that a client needs. Its key is nowhere else. */
export async function giveCredentials(deps: ManageDeps, vpn: Vpn, wish: { name: string; days: number }): Promise<string> {
  const { db, clock, sealer, run } = deps;
  if (wish.name === 'server') throw new SetupError('the name server is taken by the VPN itself', 'Choose another name.');
  const issued = await createOpensslCertificates({ run }).issue({ ...wish, usage: 'client', issuer: authorityOf(deps, vpn) });
  const row: VpnCertificate = {
    vpnId: vpn.id, serial: issued.serial, name: wish.name, createdAt: clock.date(), expiresAt: issued.expiresAt, revokedAt: null,
  };
  if (!(await insertVpnCertificate(db, row))) {
    throw new SetupError(`${wish.name} has a certificate already`, 'Its key is not kept. Revoke it, then ask for another.');
  }
  const controlKey = sealer.open(vpn.sealedControlKey, sealedPart(vpn.id, 'control'));
  return renderClient({ address: vpn.address, port: vpn.port, authorities: vpn.authority, certificate: issued.certificate, key: issued.key, controlKey });
}

/** From the end of this on the certificate opens nothing, and who is connected by it is cut off. */
export async function revokeCredentials(deps: ManageDeps, vpn: Vpn, name: string): Promise<void> {
  const { db, clock, run } = deps;
  const now = clock.date();
  const certificates = createOpensslCertificates({ run });
  const root = await rootAuthority(deps);
  const isRevoked = await revokeVpnCertificate(db, { vpnId: vpn.id, name, now }, async (rows) => {
    const revoked: Revoked[] = rows.map(({ serial, expiresAt, revokedAt }) => ({ serial, expiresAt, revokedAt: revokedAt ?? now }));
    return (await certificates.revocations(root, [], now)) + (await certificates.revocations(authorityOf(deps, vpn), revoked, now));
  });
  if (!isRevoked) throw new SetupError(`no certificate of ${name} is in use`, '`novact manage vpn certificates PROJECT` shows those there are.');
  await tellHost(deps, vpn.host);
}

/** A hint: the host looks by itself every few seconds. */
export async function tellHost({ transport, log }: ManageDeps, host: string): Promise<void> {
  try {
    await transport.tell({ role: 'network', host }, networkProtocol, 'refreshFirewall', { groupIds: [] });
  } catch (error) {
    log.debug({ host, err: error }, 'a host was not told of its VPNs');
  }
}
