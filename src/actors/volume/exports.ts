// The exports of a volume are a function of the database: served to the hosts of the instance that it is attached to, under that attachment
// alone. One actor for each volume, so that what is asked for is done one after another, by whoever it is asked.
import { loadVolume } from '../../db/volume-work.ts';
import { noteConnection, wantedExport } from '../../db/attachments.ts';
import type { Connection } from '../../drivers/volume/driver.ts';
import { DriverError } from '../../lib/errors.ts';
import type { ActorDefinition, ReplyTo } from '../runtime/actor.ts';
import type { VolumeHost } from './host.ts';

/** What is served after all; nothing: nobody can connect. */
export interface Settled {
  readonly attachmentId: string | null;
  readonly connection: Connection | null;
}

export interface ExportsMessage {
  readonly type: 'settle';
  readonly replyTo?: ReplyTo<Settled>;
}

export interface ExportsArgs {
  readonly host: VolumeHost;
  readonly volumeId: string;
}

const idleMs = 60_000;

export const exportsActor: ActorDefinition<ExportsArgs, ExportsMessage, ExportsArgs> = {
  kind: 'exports',
  idleMs,
  init: (_context, args) => args,
  async handle({ host, volumeId }, { replyTo }) {
    try {
      const settled = await settleExports(host, volumeId);
      replyTo?.answer(settled);
    } catch (error) {
      if (replyTo === undefined) throw error;
      replyTo.fail(error);
    }
  },
  // The reconciler asks again.
  onError: () => 'resume',
};

/** Idempotent. Where a volume is on its way out, or another host's, nothing is served. */
export async function settleExports(host: VolumeHost, volumeId: string): Promise<Settled> {
  const { db, driver, access } = host;
  const row = await loadVolume(db, volumeId);
  const wish = row?.host === host.name ? await wantedExport(db, { id: volumeId, host: host.name }) : undefined;
  for (const served of await driver.listExports()) {
    if (served.volumeId !== volumeId || served.attachmentId === wish?.attachmentId) continue;
    await driver.ensureUnexported(served.attachmentId);
    host.log.info({ volume: volumeId, attachment: served.attachmentId }, 'volume is not served any more');
  }
  if (wish === undefined) return { attachmentId: null, connection: null };
  const { attachmentId, initiators } = wish;
  const stranger = initiators.find((initiator) => initiator.host !== host.name);
  if (stranger !== undefined && !driver.info.capabilities.remote) {
    throw new DriverError('unsupported', `${volumeId} can be used on ${host.name} only (volume driver ${driver.info.name}), and not on ${stranger.host}`);
  }
  const connection = await driver.ensureExport({
    volumeId, attachmentId, secret: access.secretOf(attachmentId),
    initiators: initiators.map((initiator) => ({ name: access.initiatorName(initiator.host), address: initiator.address ?? thisMachine })),
  });
  await noteConnection(db, attachmentId, connection);
  return { attachmentId, connection };
}

/** A host without an address is alone: what it reaches is on it. */
const thisMachine = '127.0.0.1';
