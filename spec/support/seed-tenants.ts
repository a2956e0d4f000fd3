// Customers of the issue's own acceptance (seed-networks.ts, seed-volumes.ts): each has a project, a key and guests on several hosts, all by the EC2
// API. A guest is spoken to from the router of its network on its own host, since another project's guests have the same addresses.
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { openBoto3, writeKey, type AccessKey, type Boto3 } from './clients.ts';
import { waitFor } from './patience.ts';
import { createSecondProject } from './second-project.ts';
import type { SeedCloud, SeedHost } from './seed-world.ts';

export interface SeedGuest {
  readonly id: string;
  readonly host: SeedHost;
  readonly address: string;
  readonly gateway: string;
  readonly routerId: string;
  readonly keyFile: string;
}

interface Place {
  readonly id: string;
  readonly host: string;
  readonly address: string;
  readonly gateway: string;
  readonly router_id: string;
}

/** Of boto3's waiters, which look every 15 s. */
const quick = { WaiterConfig: { Delay: 1, MaxAttempts: 180 } };
const sshOptions = ['BatchMode=yes', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR'];
/** It answers with the number of the instance that asks. */
export const whoAmI = '/sbin/metadata token > /dev/null; /sbin/metadata get meta-data/instance-id';

/** What the command printed, trimmed. */
export async function inside(guest: SeedGuest, command: string, timeoutMs = 30_000): Promise<string> {
  const options = [...sshOptions, 'ConnectTimeout=5'];
  const args = ['-F', '/dev/null', '-n', ...options.flatMap((text) => ['-o', text]), '-i', guest.keyFile, `root@${guest.address}`, command];
  return (await guest.host.inRouter(guest.routerId)('ssh', args, { timeoutMs })).stdout.trim();
}

/** The first answer of one that is still booting. */
export const untilInside = (guest: SeedGuest, command: string): Promise<string> =>
  waitFor(`${guest.id} does ${command}`, { timeoutMs: 180_000, pollMs: 500 }, () => inside(guest, command));

export class Tenant {
  readonly name: string;
  readonly #cloud: SeedCloud;
  readonly #boto3: Boto3;
  #keyFile = '';

  private constructor(cloud: SeedCloud, name: string, key: AccessKey | undefined) {
    this.name = name;
    this.#cloud = cloud;
    this.#boto3 = openBoto3(cloud, key);
  }

  /** The founder of the cloud. */
  static founder(cloud: SeedCloud): Tenant {
    return new Tenant(cloud, 'founder', undefined);
  }

  /** Somebody else, with a project of that name. */
  static async newcomer(cloud: SeedCloud, name: string): Promise<Tenant> {
    return new Tenant(cloud, name, await createSecondProject(cloud, name, join(cloud.folder, 'master.key')));
  }

  ec2<T = Record<string, unknown>>(method: string, parameters: Record<string, unknown> = {}): Promise<T> {
    return this.#boto3.call<T>('ec2', method, parameters);
  }

  /** They run; that they have booted is for who asks them. In the order of their hosts. The `default` group lets in ssh, pings and the given ports. */
  async launch(count: number, options: { userData: string; ports?: readonly number[] }): Promise<SeedGuest[]> {
    const { KeyMaterial } = await this.ec2<{ KeyMaterial: string }>('create_key_pair', { KeyName: this.name });
    this.#keyFile = await writeKey(this.#cloud, this.name, KeyMaterial);
    for (const port of [22, ...options.ports ?? []]) await this.#allow('tcp', port);
    await this.#allow('icmp', -1);
    const { Images } = await this.ec2<{ Images: { ImageId: string }[] }>('describe_images', { Filters: [{ Name: 'name', Values: ['novact-tiny'] }] });
    const { Instances } = await this.ec2<{ Instances: { InstanceId: string }[] }>('run_instances', {
      ImageId: Images[0]?.ImageId, InstanceType: 't2.nano', MinCount: count, MaxCount: count, KeyName: this.name, UserData: `#!/bin/sh\n${options.userData}\n`,
    });
    const ids = Instances.map(({ InstanceId }) => InstanceId);
    await this.ec2('wait:instance_running', { InstanceIds: ids, ...quick });
    return (await this.#placesOf(ids)).map(({ host, router_id: routerId, ...place }) =>
      ({ ...place, routerId, host: this.#cloud.named(host), keyFile: this.#keyFile }));
  }

  async terminate(guests: readonly SeedGuest[]): Promise<void> {
    const InstanceIds = guests.map(({ id }) => id);
    await this.ec2('terminate_instances', { InstanceIds });
    await this.ec2('wait:instance_terminated', { InstanceIds, ...quick });
  }

  close(): Promise<void> {
    return this.#boto3.close();
  }

  #allow(IpProtocol: string, port: number): Promise<unknown> {
    const permission = { IpProtocol, FromPort: port, ToPort: port, CidrIp: '0.0.0.0/0' };
    return this.ec2('authorize_security_group_ingress', { GroupName: 'default', ...permission });
  }

  async #placesOf(ids: readonly string[]): Promise<Place[]> {
    const database = await this.#cloud.openDatabase();
    try {
      return (await database.db.execute(sql`
        select i.id, i.host, f.address, n.gateway, n.router_id
        from instances i join fixed_addresses f on f.instance_id = i.id join networks n on n.id = f.network_id
        where i.id in (${sql.join(ids.map((id) => sql`${id}`), sql`, `)}) order by i.host`)) as unknown as Place[];
    } finally {
      await database.close();
    }
  }
}
