// The registry of VPN drivers: the one place that lists them.
import type { Clock } from '../../lib/clock.ts';
import type { Run } from '../../lib/exec.ts';
import type { VpnDriver } from './driver.ts';
import { createFakeVpn } from './fake.ts';
import { createOpenvpn } from './openvpn.ts';

interface VpnTools {
  readonly run: Run;
  readonly clock: Clock;
  readonly stateDirectory: string;
}

export const vpnDrivers = {
  openvpn: { doc: 'OpenVPN servers of this host. Needs root and tunnel devices.', create: (tools: VpnTools): VpnDriver => createOpenvpn(tools) },
  fake: { doc: 'Nothing is carried: for hosts without plumbing.', create: (_tools: VpnTools): VpnDriver => createFakeVpn() },
} as const;
