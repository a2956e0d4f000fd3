// A customer of the acceptance of networks: a web server that the outside reaches by a floating address, a database that lets in the web server
// alone, by its group, and a guest that is neither, on two hosts.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitUntil } from './patience.ts';
import { inside, untilInside, whoAmI, type SeedGuest, type Tenant } from './seed-tenants.ts';
import type { SeedCloud } from './seed-world.ts';

const port = 8080;
/** What a download has to bring: other bytes at each place, and the same from each guest. */
const big = 'seq 1 1200000';
const bigBytes = 8_488_896;
/** A server that says which instance it is, and has something that takes long to fetch. */
const serving = `mkdir -p /run/www; ${big} > /run/www/big; { ${whoAmI}; } > /run/www/index.html; httpd -p ${port} -h /run/www`;
const downloader = fileURLToPath(new URL('download.py', import.meta.url));
/** Where connections take their time, so that no download is over before it is looked at: buffers here are small. */
const smallBuffers = 'net.ipv4.tcp_rmem=4096 65536 131072';

/** Prints which instance answers there. Not wget: with a limit of time, busybox's crashes. */
const asking = ({ address }: SeedGuest, seconds = 2): string =>
  `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w ${seconds} ${address} ${port} 2> /dev/null | tail -n 1`;

interface GuestsOfShop {
  readonly web: SeedGuest;
  readonly database: SeedGuest;
  readonly other: SeedGuest;
}

export class Shop {
  readonly tenant: Tenant;
  readonly #cloud: SeedCloud;
  #guests: GuestsOfShop | undefined;
  #publicAddress = '';
  #webGroup = '';
  #databaseGroup = '';

  constructor(cloud: SeedCloud, tenant: Tenant) {
    this.#cloud = cloud;
    this.tenant = tenant;
  }

  get guests(): GuestsOfShop {
    if (this.#guests === undefined) throw new Error(`${this.tenant.name} has not opened`);
    return this.#guests;
  }

  get all(): readonly SeedGuest[] {
    return Object.values(this.guests);
  }

  /** Three guests in the same group; the web server has a host for itself. */
  async launch(): Promise<void> {
    const guests = await this.tenant.launch(3, { userData: serving, ports: [port] });
    const web = guests.find(({ host }) => guests.filter((guest) => guest.host === host).length === 1);
    const [other, database] = guests.filter((guest) => guest !== web);
    if (web === undefined || other === undefined || database === undefined) throw new Error('of three guests, one host has one and the other has two');
    this.#guests = { web, other, database };
  }

  /** The groups, and the address that leads to the web server. The database lets in ssh from its gateway alone, which is how it is looked at here. */
  async open(): Promise<void> {
    const { web, database } = this.guests;
    this.#webGroup = await this.#group('web');
    this.#databaseGroup = await this.#group('database');
    const tcp = { IpProtocol: 'tcp' };
    await this.#rule('authorize', this.#webGroup, { ...tcp, FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '0.0.0.0/0' }] });
    await this.#rule('authorize', this.#webGroup, { ...tcp, FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: '0.0.0.0/0' }] });
    await this.#rule('authorize', this.#databaseGroup, { ...tcp, FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: `${database.gateway}/32` }] });
    await this.letWebIn('authorize');
    await this.tenant.ec2('modify_instance_attribute', { InstanceId: web.id, Groups: [this.#webGroup] });
    await this.tenant.ec2('modify_instance_attribute', { InstanceId: database.id, Groups: [this.#databaseGroup] });
    this.#publicAddress = (await this.tenant.ec2<{ PublicIp: string }>('allocate_address', { Domain: 'vpc' })).PublicIp;
    await this.leadTo(web);
  }

  /** The rule by which the web server reaches the database. */
  letWebIn(verb: 'authorize' | 'revoke'): Promise<unknown> {
    const source = { UserIdGroupPairs: [{ GroupId: this.#webGroup }] };
    return this.#rule(verb, this.#databaseGroup, { IpProtocol: 'tcp', FromPort: port, ToPort: port, ...source });
  }

  /** The public address, wherever it leads now. */
  leadTo(guest: SeedGuest): Promise<unknown> {
    return this.tenant.ec2('associate_address', { PublicIp: this.#publicAddress, InstanceId: guest.id });
  }

  /** Which guest answers at the public address; empty: none does. */
  async answering(): Promise<string> {
    const args = ['-s', '-m', '2', `http://${this.#publicAddress}:${port}/`];
    return (await this.#cloud.outside('curl', args, { okCodes: [0, 7, 28, 52, 56] })).stdout.trim();
  }

  /** Everything that this customer was promised, looked at from each guest and from outside; an error says what is otherwise. */
  async expectWell(): Promise<void> {
    const { web, database, other } = this.guests;
    const ask = (guest: SeedGuest, seconds?: number) => `$(${asking(guest, seconds)})`;
    const knock = ({ address }: SeedGuest) => `$(nc -w 1 ${address} 22 < /dev/null 2> /dev/null | head -c 3)`;
    const named = ({ id, address }: SeedGuest) => `$(nslookup -type=a ${id}.novact.internal 2> /dev/null | grep -c ${address}$)`;
    const said = await Promise.all([
      inside(web, `echo "${ask(database)} [${knock(database)}] ${ask(other)} ${named(database)} $(${whoAmI})"`),
      inside(other, `echo "[${ask(database, 1)}${knock(database)}] ${ask(web)} ${named(database)} $(${whoAmI})"`),
      inside(database, `echo "${ask(web)} ${named(web)} $(${whoAmI})"`),
      this.answering(),
      this.#running(),
    ]);
    const wished = [
      `${database.id} [] ${other.id} 1 ${web.id}`, `[] ${web.id} 1 ${other.id}`, `${web.id} 1 ${database.id}`, web.id, 'running running running',
    ];
    if (said.join('\n') !== wished.join('\n')) throw new Error(`${this.tenant.name} sees\n${said.join('\n')}\nand not\n${wished.join('\n')}`);
  }

  async webReachesDatabase(): Promise<boolean> {
    const { web, database } = this.guests;
    return (await inside(web, asking(database, 1))) === database.id;
  }

  /**
   * A download through the public address by somebody who goes on where it broke off, during which it is moved to that guest: how soon new connections
   * reach the guest, how often the download broke off, and whether it brought what was to be brought.
   */
  async moveUnderDownload(to: SeedGuest): Promise<{ readonly movedMs: number; readonly breaks: number; readonly isWhole: boolean }> {
    await this.#cloud.outside('sysctl', ['-q', '-w', smallBuffers]);
    const file = join(this.#cloud.folder, `${this.tenant.name}-big`);
    // The first connection takes half a minute, so that the address moves under it however busy the machine is; who goes on hurries.
    const pace = '250000';
    const fetching = [downloader, `http://${this.#publicAddress}:${port}/big`, file, pace, '2'];
    const download = this.#cloud.outside('/usr/bin/python3', fetching, { timeoutMs: 90_000 });
    download.catch(() => undefined);
    const arrived = async () => (await stat(file)).size;
    await waitUntil('the download runs', { timeoutMs: 20_000, pollMs: 50 }, async () => (await arrived()) > 200_000);
    await this.leadTo(to);
    const patience = { timeoutMs: 20_000, pollMs: 50 };
    const movedMs = await waitUntil(`${to.id} answers`, patience, async () => (await this.answering()) === to.id);
    const breaks = (await download).stdout.split('\n').filter((line) => line.startsWith('broken')).length;
    const [here, there] = await Promise.all([
      this.#cloud.outside('sh', ['-c', `sha256sum < ${file}`]).then(({ stdout }) => stdout.trim()), inside(to, `${big} | sha256sum`),
    ]);
    return { movedMs, breaks, isWhole: here === there && (await arrived()) === bigBytes };
  }

  async untilServing(): Promise<void> {
    for (const guest of this.all) await untilInside(guest, `grep ${guest.id} /run/www/index.html`);
  }

  async #running(): Promise<string> {
    interface Shown { readonly State: { readonly Name: string }; readonly PrivateIpAddress: string }
    const asked = { InstanceIds: this.all.map(({ id }) => id) };
    const { Reservations } = await this.tenant.ec2<{ Reservations: { Instances: Shown[] }[] }>('describe_instances', asked);
    return Reservations.flatMap(({ Instances }) => Instances).map(({ State }) => State.Name).join(' ');
  }

  async #group(GroupName: string): Promise<string> {
    return (await this.tenant.ec2<{ GroupId: string }>('create_security_group', { GroupName, Description: GroupName })).GroupId;
  }

  #rule(verb: 'authorize' | 'revoke', GroupId: string, permission: Record<string, unknown>): Promise<unknown> {
    return this.tenant.ec2(`${verb}_security_group_ingress`, { GroupId, IpPermissions: [permission] });
  }
}

/** Within a minute, as the issue has it. Returns the milliseconds it took. */
export function untilWell(shops: readonly [Shop, ...Shop[]], after: string, spentMs = 0): Promise<number> {
  const timeoutMs = 60_000 - spentMs;
  return waitUntil(`all is well after ${after}`, { timeoutMs, pollMs: 250 }, async () => {
    await Promise.all(shops.map((shop) => shop.expectWell()));
    return true;
  });
}
