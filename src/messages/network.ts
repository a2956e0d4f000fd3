// What a network host is told and asked.
import { z } from 'zod';
import { protocol } from './protocol.ts';

export const networkProtocol = protocol('network', {
  ensurePort: {
    doc: 'Make the network of an instance real on this host: bridge, DHCP host entry, firewall with its port and groups. Idempotent: '
      + 'ensures a state that follows from the database.',
    body: z.object({ instanceId: z.string() }),
    reply: z.object({ bridge: z.string(), tap: z.string(), mac: z.string(), address: z.string() }),
  },
  removePort: {
    doc: 'Take an instance off its network on this host: rules, DHCP entry and lease. The address is free in the database when this answers. Idempotent.',
    body: z.object({ instanceId: z.string() }),
    reply: z.object({}),
  },
  leavePort: {
    doc: 'An instance does not live on this host (any more): its lease here ends, DHCP entry and rules follow the database. Its address stays its '
      + 'own. Idempotent.',
    body: z.object({ instanceId: z.string() }),
    reply: z.object({}),
  },
  refreshFirewall: {
    doc: 'Security groups or floating addresses changed: render the rules from the database and apply them. Idempotent.',
    body: z.object({ groupIds: z.array(z.string()) }),
  },
});
