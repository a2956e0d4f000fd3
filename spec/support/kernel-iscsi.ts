// The iSCSI initiator of the nested guest's kernel, told as its own tools do. What fails is answered with the number that iscsiadm ends with:
// 24 not authorized, 19 refused, 21 nothing there.
import type { Connection } from '../../src/drivers/volume/driver.ts';
import type { Secret } from '../../src/lib/secret.ts';
import type { Lab } from './lab.ts';

export type IscsiConnection = Extract<Connection, { protocol: 'iscsi' }>;

export interface KernelInitiator {
  /** Looks at a portal, which must come before the first login there: what it tells of targets. */
  discover(connection: IscsiConnection): Promise<string>;
  giveSecret(connection: IscsiConnection, secret: Secret): Promise<void>;
  logIn(connection: IscsiConnection): Promise<string>;
  logOut(connection: IscsiConnection): Promise<string>;
  /** After: it has seen what size its disks have. */
  rescan(connection: IscsiConnection): Promise<string>;
  sessions(): Promise<string>;
  /** Names of devices in /dev/disk/by-path. */
  devices(): Promise<string>;
}

const slowMs = 120_000;
const portalOf = ({ address, port }: IscsiConnection): string => `${address}:${port}`;

export const deviceOf = (connection: IscsiConnection): string =>
  `/dev/disk/by-path/ip-${portalOf(connection)}-iscsi-${connection.target}-lun-${connection.lun}`;

export const iscsiOf = (connection: Connection): IscsiConnection => {
  if (connection.protocol === 'iscsi') return connection;
  throw new Error(`not by iSCSI but by ${connection.protocol}`);
};

/** Once in a guest. `name`: what it says that it is. */
export async function startKernelInitiator(lab: Lab, name: string): Promise<KernelInitiator> {
  const inLab = async (line: string, input = ''): Promise<string> => (await lab.run('sh', ['-c', line], { timeoutMs: slowMs, input })).stdout.trim();
  const outcome = (line: string) => inLab(`${line} > /dev/null 2>&1 && echo done || echo $?`);
  const node = (connection: IscsiConnection, rest: string) => outcome(`iscsiadm -m node -T ${connection.target} -p ${portalOf(connection)} ${rest}`);
  await inLab(`modprobe iscsi_tcp; echo InitiatorName=${name} > /etc/iscsi/initiatorname.iscsi; iscsid`);
  return {
    discover: (connection) => inLab(`iscsiadm -m discovery -t st -p ${portalOf(connection)} 2> /dev/null || echo $?`),
    /** As its tool keeps it, but written to its file: on the tool's command line everybody could read it. */
    async giveSecret(connection, secret) {
      const { target, address, port, user } = connection;
      const forget = `cd /etc/iscsi/nodes/${target}/${address},${port},1; sed -i "/node.session.auth.[amup][a-z]* /d; /# END/d" default; cat >> default`;
      const session = { authmethod: 'CHAP', username: user, password: secret.reveal() };
      const lines = Object.entries(session).map(([key, value]) => `node.session.auth.${key} = ${value}\n`);
      await inLab(forget, `${lines.join('')}# END RECORD\n`);
    },
    logIn: (connection) => node(connection, '--login'),
    logOut: (connection) => node(connection, '--logout'),
    rescan: (connection) => node(connection, '--rescan'),
    sessions: () => inLab('iscsiadm -m session 2> /dev/null || true'),
    devices: () => inLab('udevadm settle; ls /dev/disk/by-path | grep iscsi || true'),
  };
}
