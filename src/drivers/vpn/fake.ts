// VPN end points that carry nothing: for hosts without plumbing, and for specs.
import { DriverError } from '../../lib/errors.ts';
import type { VpnDriver, VpnEndpoint } from './driver.ts';

export interface FakeVpn extends VpnDriver {
  readonly endpoints: ReadonlyMap<string, VpnEndpoint>;
}

export function createFakeVpn(): FakeVpn {
  const endpoints = new Map<string, VpnEndpoint>();
  return {
    info: { name: 'fake', plumbs: false },
    endpoints,
    async probe() {},
    async ensureEndpoints(wanted) {
      const ports = new Set(wanted.map(({ port }) => port));
      if (ports.size < wanted.length) throw new DriverError('failed', 'two VPN end points of a host have the same port');
      endpoints.clear();
      for (const endpoint of wanted) endpoints.set(endpoint.id, endpoint);
    },
    connected: async () => [],
  };
}
