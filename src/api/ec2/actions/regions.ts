// Regions and availability zones: one region, and the zones that its hosts are in.
import { servicesOfHosts, zonesOfHosts } from '../../../db/zones.ts';
import { groupBy } from '../../../lib/group-by.ts';
import type { Role } from '../../../messages/protocol.ts';
import { action, type Call } from '../action.ts';
import { describe } from '../describe.ts';

const describeRegions = action({
  name: 'DescribeRegions',
  doc: 'The one region of this cloud, with its endpoint as host and port.',
  roles: 'anyMember',
  errors: ['InvalidParameterValue'],
  filters: ['region-name', 'endpoint', 'opt-in-status'],
  handle(call, input) {
    const region = { RegionName: call.region, Endpoint: new URL(call.endpoint).host, OptInStatus: 'opt-in-not-required' };
    const page = describe({
      input,
      items: [region],
      id: (item) => item.RegionName,
      ids: {
        values: input.RegionNames,
        notFound: { code: 'InvalidParameterValue', message: (missing) => `Invalid region name(s): [${missing.join(', ').slice(0, 200)}]` },
      },
      filters: { 'region-name': (item) => item.RegionName, endpoint: (item) => item.Endpoint, 'opt-in-status': (item) => item.OptInStatus },
    });
    return { Regions: [...page.items] };
  },
});

const describeAvailabilityZones = action({
  name: 'DescribeAvailabilityZones',
  doc: 'The zones that hosts are in, and the configured one. A zone is available while a host that is enabled and up is in it. With `ZoneName.1=verbose` '
    + 'administrators see the hosts of each zone and their services too, as Nova showed them.',
  roles: 'anyMember',
  errors: ['InvalidParameterValue'],
  filters: ['group-name', 'message', 'opt-in-status', 'region-name', 'state', 'zone-id', 'zone-name', 'zone-type'],
  async handle(call, input) {
    const open = await zonesOfHosts(call.db);
    const names = [...new Set([call.zone, ...open.keys()])];
    const zones = names.map((name) => describeZone(name, open.get(name) === true, call.region));
    if (call.principal.isAdmin && input.ZoneNames?.length === 1 && input.ZoneNames[0] === 'verbose') return { AvailabilityZones: await withHosts(call, zones) };
    const invalid = (missing: readonly string[]) => `Invalid availability zone: [${missing.join(', ').slice(0, 200)}]`;
    const page = describe({
      input,
      items: zones,
      id: (zone) => zone.ZoneName,
      ids: [
        { values: input.ZoneNames, notFound: { code: 'InvalidParameterValue', message: invalid } },
        { values: input.ZoneIds, of: (zone) => zone.ZoneId, notFound: { code: 'InvalidParameterValue', message: invalid } },
      ],
      filters: {
        'group-name': (zone) => zone.GroupName,
        message: (zone) => zone.Messages.map(({ Message }) => Message),
        'opt-in-status': (zone) => zone.OptInStatus,
        'region-name': (zone) => zone.RegionName,
        state: (zone) => zone.State,
        'zone-id': (zone) => zone.ZoneId,
        'zone-name': (zone) => zone.ZoneName,
        'zone-type': (zone) => zone.ZoneType,
      },
    });
    return { AvailabilityZones: [...page.items] };
  },
});

function describeZone(name: string, isOpen: boolean, region: string) {
  return {
    OptInStatus: 'opt-in-not-required' as const,
    Messages: isOpen ? [] : [{ Message: 'No host that is enabled and up is in this zone.' }],
    RegionName: region,
    ZoneName: name,
    ZoneId: name,
    GroupName: region,
    NetworkBorderGroup: region,
    ZoneType: 'availability-zone',
    State: isOpen ? ('available' as const) : ('unavailable' as const),
  };
}

/** How Nova drew a service that is not heard of. */
const novaSilent = 'X'.repeat(3);

type Zone = ReturnType<typeof describeZone>;

/** Nova's verbose form: under each zone its hosts, under each host its services: enabled or not, heard of or not, and since when it is as it is. */
async function withHosts(call: Call, zones: readonly Zone[]): Promise<Zone[]> {
  const services = await servicesOfHosts(call.db);
  const heard = new Map<string, ReadonlySet<string>>();
  for (const role of new Set(services.map((service) => service.role))) {
    heard.set(role, new Set((await call.directory.services(role as Role)).map(({ host }) => host)));
  }
  const byHost = groupBy(services.filter(({ zone }) => zone !== undefined), ({ host }) => host);
  const line = (zone: Zone, name: string, state: string): Zone => (
    // Nova put words where AWS has a closed list; clients print what they get.
    { ...zone, Messages: [], ZoneName: name, ZoneId: name, State: state as Zone['State'] }
  );
  return zones.flatMap((zone) => [
    zone,
    ...[...byHost].filter(([, [first]]) => first?.zone === zone.ZoneName).flatMap(([host, ofHost]) => [
      line(zone, `|- ${host}`, ''),
      ...ofHost.map(({ role, enabled, downSince, startedAt }) => {
        const isHeard = downSince === undefined && heard.get(role)?.has(host) === true;
        return line(zone, `| |- ${role}`, `${enabled ? 'enabled' : 'disabled'} ${isHeard ? ':-)' : novaSilent} ${(downSince ?? startedAt).toISOString()}`);
      }),
    ]),
  ]);
}

export const regionActions = [describeRegions, describeAvailabilityZones];
