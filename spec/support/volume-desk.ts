// What users do with volumes by the EC2 API, each step until it is done, and what their guests see of it.
import { diskCommand } from './guest-disks.ts';
import { waitFor } from './patience.ts';

export interface VolumeUser<Guest> {
  /** A call of boto3's client. */
  ec2<T = Record<string, unknown>>(method: string, parameters?: Record<string, unknown>): Promise<T>;
  /** What a command printed in a guest, trimmed. */
  inside(guest: Guest, command: string): Promise<string>;
}

interface ShownVolume {
  readonly State: string;
  readonly Attachments: readonly { readonly State: string; readonly InstanceId: string }[];
}

const patience = { timeoutMs: 120_000 };
const quick = { WaiterConfig: { Delay: 1, MaxAttempts: 120 } };

export class VolumeDesk<Guest extends { readonly id: string }> {
  readonly #user: VolumeUser<Guest>;

  constructor(user: VolumeUser<Guest>) {
    this.#user = user;
  }

  /** `available`, or `in-use` and the state of what has it. */
  async stateOf(id: string): Promise<string> {
    const { Volumes: [volume] } = await this.#user.ec2<{ Volumes: ShownVolume[] }>('describe_volumes', { VolumeIds: [id] });
    return [volume?.State, ...(volume?.Attachments ?? []).map(({ State }) => State)].join(' ');
  }

  untilState(id: string, state: string): Promise<true> {
    return waitFor(`${id} is ${state}`, patience, async () => {
      const now = await this.stateOf(id);
      if (now === state) return true as const;
      throw new Error(`it is ${now}`);
    });
  }

  untilGone(id: string): Promise<true> {
    return waitFor(`${id} is gone`, patience, () => this.stateOf(id).then(() => undefined, (error: { code?: string }) =>
      (error.code === 'InvalidVolume.NotFound' ? true as const : undefined)));
  }

  /** `{ Size: 1 }` or `{ SnapshotId }`. */
  async create(parameters: Record<string, unknown>): Promise<string> {
    const { VolumeId } = await this.#user.ec2<{ VolumeId: string }>('create_volume', { AvailabilityZone: 'nova', ...parameters });
    await this.#user.ec2('wait:volume_available', { VolumeIds: [VolumeId], ...quick });
    return VolumeId;
  }

  async snapshot(VolumeId: string): Promise<string> {
    const { SnapshotId } = await this.#user.ec2<{ SnapshotId: string }>('create_snapshot', { VolumeId });
    await this.#user.ec2('wait:snapshot_completed', { SnapshotIds: [SnapshotId], ...quick });
    return SnapshotId;
  }

  async grow(VolumeId: string, Size: number): Promise<void> {
    type Shown = { VolumesModifications: { ModificationState: string }[] };
    await this.#user.ec2('modify_volume', { VolumeId, Size });
    await waitFor(`${VolumeId} has grown`, patience, async () => {
      const { VolumesModifications: [change] } = await this.#user.ec2<Shown>('describe_volumes_modifications', { VolumeIds: [VolumeId] });
      return change?.ModificationState === 'completed' ? true : undefined;
    });
  }

  /** The guest's name of the disk that it is there. */
  async attach(id: string, guest: Guest, device = '/dev/sdf'): Promise<string> {
    await this.#user.ec2('attach_volume', { VolumeId: id, InstanceId: guest.id, Device: device });
    await this.untilState(id, 'in-use attached');
    return this.untilSeen(guest, id);
  }

  async detach(id: string): Promise<void> {
    await this.#user.ec2('detach_volume', { VolumeId: id });
    await this.untilState(id, 'available');
  }

  async remove(id: string): Promise<void> {
    await this.#user.ec2('delete_volume', { VolumeId: id });
    await this.untilGone(id);
  }

  /** The guest's own name of the disk with that volume's serial number; empty while it has none. */
  diskIn(guest: Guest, id: string): Promise<string> {
    return this.#user.inside(guest, diskCommand(id.replace('-', '').slice(0, 20))).catch(() => '');
  }

  untilSeen(guest: Guest, id: string): Promise<string> {
    return waitFor(`${guest.id} sees ${id}`, patience, async () => (await this.diskIn(guest, id)) || undefined);
  }

  async gibibytesOf(guest: Guest, disk: string): Promise<number> {
    return Number(await this.#user.inside(guest, `cat /sys/block/${disk}/size`)) / 2 ** 21;
  }
}
