// Regions and availability zones: one region, and the zones that its hosts are in.
import { zonesOfHosts } from '../../../db/zones.ts';
import { action } from '../action.ts';
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
  doc: 'The zones that hosts are in, and the configured one. A zone is available while an enabled host is in it.',
  roles: 'anyMember',
  errors: ['InvalidParameterValue'],
  filters: ['group-name', 'message', 'opt-in-status', 'region-name', 'state', 'zone-id', 'zone-name', 'zone-type'],
  async handle(call, input) {
    const open = await zonesOfHosts(call.db);
    const names = [...new Set([call.zone, ...open.keys()])];
    const zones = names.map((name) => describeZone(name, open.get(name) === true, call.region));
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
    Messages: isOpen ? [] : [{ Message: 'No enabled host is in this zone.' }],
    RegionName: region,
    ZoneName: name,
    ZoneId: name,
    GroupName: region,
    NetworkBorderGroup: region,
    ZoneType: 'availability-zone',
    State: isOpen ? ('available' as const) : ('unavailable' as const),
  };
}

export const regionActions = [describeRegions, describeAvailabilityZones];
