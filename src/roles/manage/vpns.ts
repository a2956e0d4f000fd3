// `novact manage vpn …`: a way into a project's network for people outside, and the certificates that open it.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { certificatesOf, deleteVpn, listVpns, vpnClients, type Vpn } from '../../db/vpns.ts';
import type { ManageDeps } from './deps.ts';
import { addressOf, createVpn, giveCredentials, revokeCredentials, tellHost, vpnOf } from './vpn-life.ts';

const command = manageCommand<ManageDeps>();
const project = z.string().min(1).describe('The project, by name or id.');
const holder = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/).describe('Whose certificate it is.');

const shown = (name: string, vpn: Vpn) => ({
  project: name, host: vpn.host, address: vpn.address, port: vpn.port, clients: vpnClients(vpn), since: vpn.createdAt.toISOString(),
});

export const vpnCommands: readonly ManageCommand<ManageDeps>[] = [
  command({
    category: 'vpn', verb: 'create', positional: ['project'],
    text: 'Make a way into a project\'s network, with an authority for its certificates. Security groups see its clients by their own addresses.',
    args: z.object({
      project,
      host: z.string().min(1).max(63).optional().describe('The host of the end point. Default: this one.'),
      address: z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/).optional().describe('Where clients find it: an address or a name. Default: the host\'s.'),
      port: z.coerce.number().int().min(1).max(65_535).optional().describe('The UDP port. Default: 1194.'),
    }),
    run: async (deps, args) => {
      const host = args.host ?? deps.settings.host;
      const vpn = await createVpn(deps, { project: args.project, host, port: args.port ?? 1194, address: args.address ?? (await addressOf(deps, host)) });
      return shown(args.project, vpn);
    },
  }),
  command({
    category: 'vpn', verb: 'list', text: 'List the VPNs of all projects.', positional: [], args: z.object({}),
    run: async ({ db }) => (await listVpns(db)).map(({ project: name, vpn }) => shown(name, vpn)),
  }),
  command({
    category: 'vpn', verb: 'delete', text: 'Take a project\'s VPN away, and all its certificates with it.', positional: ['project'],
    args: z.object({ project }),
    run: async (deps, args) => {
      const vpn = await vpnOf(deps, args.project);
      await deleteVpn(deps.db, vpn.id);
      await tellHost(deps, vpn.host);
      return `the VPN of ${args.project} is gone`;
    },
  }),
  command({
    category: 'vpn', verb: 'credentials', positional: ['project', 'name'],
    text: 'Give somebody a certificate, printed as the one file that an OpenVPN client needs. Its key is not kept.',
    args: z.object({ project, name: holder, days: z.coerce.number().int().min(1).max(3_650).optional().describe('How long it is good. Default: 365.') }),
    run: async (deps, args) => giveCredentials(deps, await vpnOf(deps, args.project), { name: args.name, days: args.days ?? 365 }),
  }),
  command({
    category: 'vpn', verb: 'certificates', text: 'List the certificates of a project\'s VPN.', positional: ['project'], args: z.object({ project }),
    run: async (deps, args) => (await certificatesOf(deps.db, (await vpnOf(deps, args.project)).id)).map((each) => ({
      name: each.name, serial: each.serial, since: each.createdAt.toISOString(), until: each.expiresAt.toISOString(),
      revoked: each.revokedAt?.toISOString() ?? '',
    })),
  }),
  command({
    category: 'vpn', verb: 'revoke', text: 'Take back the certificate of somebody, and cut off who is connected by it.', positional: ['project', 'name'],
    args: z.object({ project, name: holder }),
    run: async (deps, args) => {
      await revokeCredentials(deps, await vpnOf(deps, args.project), args.name);
      return `the certificate of ${args.name} is revoked`;
    },
  }),
];
