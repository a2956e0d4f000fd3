// `novact manage volume …`: volumes of all projects, the hosts that keep them, and what an operator does when nothing else helps.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { attachmentOf, releaseAttachment } from '../../db/attachments.ts';
import { listVolumeHosts, setVolumeHostEnabled } from '../../db/volume-hosts.ts';
import { forceEndVolume, loadVolume, type Volume } from '../../db/volume-work.ts';
import { deleteVolume, volumesForOperator } from '../../db/volumes.ts';
import { SetupError } from '../../lib/errors.ts';
import { newRequestId } from '../../lib/ids.ts';
import type { ManageDeps } from './deps.ts';

const listMax = 1_000;
const deleteMs = 60 * 60_000;
const lookUp = 'See: novact manage volume list';

const id = z.string().regex(/^vol-[0-9a-f]{8,32}$/, 'a volume id such as vol-0123456789abcdef0 is needed').describe('The volume.');
const hostName = z.string().min(1).max(63).describe('The volume host.');

async function volumeOf({ db }: ManageDeps, volumeId: string): Promise<Volume> {
  const row = await loadVolume(db, volumeId);
  if (row === undefined || row.state === 'deleted') throw new SetupError(`there is no volume ${volumeId}`, lookUp);
  return row;
}

const list = manageCommand<ManageDeps>()({
  category: 'volume', verb: 'list', text: 'The volumes of all projects, or those of one host.', positional: [],
  args: z.object({ host: z.string().optional().describe('Only those on this host.') }),
  run: async ({ db }, { host }) => (await volumesForOperator(db, { host, countMax: listMax })).map(({ attachment, ...row }) => ({
    id: row.id, state: row.state, sizeGiB: row.sizeGiB, host: row.host ?? '-', instance: attachment?.instanceId ?? '-', device: attachment?.device ?? '-',
    project: row.projectId, note: row.stateReason ?? '',
  })),
});

const hosts = manageCommand<ManageDeps>()({
  category: 'volume', verb: 'hosts', text: 'The hosts that keep volumes: driver, room, and whether they are heard of.', positional: [], args: z.object({}),
  async run({ db, directory }) {
    const heard = new Set((await directory.services('volume')).map(({ host }) => host));
    return (await listVolumeHosts(db)).map((host) => ({
      name: host.name, zone: host.zone, state: heard.has(host.name) ? (host.enabled ? 'up' : 'disabled') : 'silent', driver: host.driver,
      servesOthers: host.isRemote, sizeGiB: `${host.claimedGiB}/${host.sizeGiB}`, note: host.disabledReason ?? '',
    }));
  },
});

const setEnabled = (verb: 'enable' | 'disable', enabled: boolean, text: string) => manageCommand<ManageDeps>()({
  category: 'volume', verb, text, positional: ['host'],
  args: z.object({ host: hostName, reason: z.string().max(200).optional().describe('Why, in words, for others to read.') }),
  async run({ db }, { host, reason }) {
    const change = { enabled, reason: enabled ? null : (reason ?? 'disabled by operator') };
    if (!(await setVolumeHostEnabled(db, host, change))) throw new SetupError(`there is no volume host ${host}`, 'See: novact manage volume hosts');
    return `${host} takes ${enabled ? '' : 'no '}new volumes`;
  },
});

const remove = manageCommand<ManageDeps>()({
  category: 'volume', verb: 'delete',
  text: 'Deletes a volume, whoever\'s it is. With --force in any state: its host removes what it has of it, when it is there.',
  positional: ['id'],
  args: z.object({ id, force: z.boolean().default(false).describe('Attached or stuck, its host away: the row ends now. A guest that has it gets errors.') }),
  async run(deps, args) {
    const { db, clock, relay } = deps;
    const row = await volumeOf(deps, args.id);
    if (args.force) {
      await forceEndVolume(db, row.id, clock.date());
      return `${row.id} is deleted; ${row.host === null ? 'nothing of it was made' : `volume@${row.host} removes what it has of it`}`;
    }
    const wish = { projectId: row.projectId, userId: 'operator', volumeId: row.id, requestId: newRequestId(), deadline: new Date(clock.now() + deleteMs) };
    const deleted = await deleteVolume(db, wish, clock.date());
    if (typeof deleted !== 'string') throw new SetupError(`${row.id} is ${deleted.state}`, 'Detach it first, or delete it with --force.');
    relay.kick();
    return `${row.id} is being deleted`;
  },
});

const detach = manageCommand<ManageDeps>()({
  category: 'volume', verb: 'detach',
  text: 'Takes a volume off an instance whose host is lost: nothing is served to it any more. A guest that has it gets errors.',
  positional: ['id'], args: z.object({ id }),
  async run(deps, args) {
    const { db, clock, relay } = deps;
    const row = await volumeOf(deps, args.id);
    const attachment = await attachmentOf(db, row.id);
    if (attachment === undefined) throw new SetupError(`${row.id} is attached to nothing`, lookUp);
    await releaseAttachment(db, attachment, { requestId: newRequestId(), deletes: false, reason: 'detached by an operator' }, clock.date());
    relay.kick();
    return `${row.id} is being taken off ${attachment.instanceId}`;
  },
});

export const volumeCommands: readonly ManageCommand<ManageDeps>[] = [
  list, hosts, setEnabled('enable', true, 'Lets new volumes come to a host.'),
  setEnabled('disable', false, 'Lets no new volumes come to a host. Those there stay.'),
  remove, detach,
];
