// The rules inside the namespace of a project's router: which of its own services guests reach, what is led to the metadata service, and what
// goes to the outside. Who may speak with whom is not decided here: every frame passes the bridge, where the rules of the host are.
import { DriverError } from '../../../lib/errors.ts';
import type { FloatingAddress, NetworkSpec } from '../driver.ts';
import { checkAddress, checkInteger, checkLinkName, cidrText, collapseCidrs, parseIPv4Cidr } from './names.ts';
import { floatingRules } from './nft-floating.ts';
import { uplinkName } from './project-links.ts';
import { chainOf, mapOf, renderTables, type Table } from './ruleset.ts';

export interface RouterRules {
  /** All networks of the router on this host. */
  readonly networks: readonly NetworkSpec[];
  readonly metadataPort: number;
  /** Of its guests on this host. */
  readonly floating: readonly FloatingAddress[];
}

/** As one text, in the place of whatever was there. */
export const renderRouter = (rules: RouterRules, tableName: string): string => renderTables([routerTable(rules, tableName)]);

/** The whole table. Pure. */
export function routerTable({ networks, metadataPort, floating }: RouterRules, tableName: string): Table {
  checkInteger(metadataPort, { kind: 'a port', min: 1, max: 65_535 });
  const legs = networks.map(({ bridge, gateway, outside }) => ({ leg: checkLinkName(bridge), gateway: checkAddress(gateway), outside }))
    .toSorted((a, b) => (a.leg < b.leg ? -1 : 1));
  if (legs.length === 0) throw new DriverError('failed', 'a router without networks');
  const names = `{ ${legs.map(({ leg }) => `"${leg}"`).join(', ')} }`;
  const gateways = `{ ${legs.map(({ leg, gateway }) => `"${leg}" . ${gateway}`).join(', ')} }`;
  const nat = floatingRules(floating, `oifname "${uplinkName}"`);
  const inside = collapseCidrs(networks.map(({ cidr }) => parseIPv4Cidr(cidr))).map(cidrText).join(', ');
  const parts = [...nat.maps.map(mapOf), chain('prerouting', [
    'type nat hook prerouting priority dstnat; policy accept;',
    ...legs.map(({ leg, gateway }) => `iifname "${leg}" ip daddr 169.254.169.254 tcp dport 80 dnat ip to ${gateway}:${metadataPort}`),
    ...nat.destination,
  ]), chain('postrouting', [
    'type nat hook postrouting priority srcnat; policy accept;',
    ...nat.source,
    // To a floating address of a neighbour: whose answer, given to a neighbour, would not come back this way.
    `ip saddr { ${inside} } ct status dnat oifname ${names} masquerade`,
    `oifname "${uplinkName}" masquerade`,
  ]), chain('input', [
    'type filter hook input priority filter; policy drop;',
    'iifname "lo" accept',
    'ct state established,related accept',
    'udp sport 68 udp dport 67 accept',
    `iifname . ip daddr != ${gateways} drop`,
    'meta l4proto { tcp, udp } th dport 53 accept',
    `tcp dport ${metadataPort} accept`,
    'icmp type echo-request accept',
  ]), chain('forward', [
    'type filter hook forward priority filter; policy drop;',
    // Open connections too end with the route.
    ...legs.flatMap(wayOut),
    'ct state established,related accept',
    // Between networks of one router an answer may come by the router of another host: connections are not asked for.
    `iifname ${names} oifname ${names} accept`,
    `iifname ${names} oifname "${uplinkName}" accept`,
    'ct status dnat accept',
  ])];
  return { family: 'inet', name: tableName, parts };
}

/** What a network without a route to everywhere may not do: neither to nor from there, and not to its neighbours by their floating addresses either. */
function wayOut({ leg, outside }: { readonly leg: string; readonly outside: readonly string[] | undefined }): string[] {
  if (outside === undefined) return [];
  const ranges = collapseCidrs(outside.map(parseIPv4Cidr)).map(cidrText).join(', ');
  const notThere = (what: string): string => (ranges === '' ? '' : `${what} != { ${ranges} } `);
  return [
    `iifname "${leg}" oifname "${uplinkName}" ${notThere('ip daddr')}drop`,
    `iifname "${uplinkName}" oifname "${leg}" ${notThere('ip saddr')}drop`,
    `iifname "${leg}" ct direction original ct status dnat ${notThere('ct original ip daddr')}drop`,
  ];
}

const chain = (name: string, rules: readonly string[]) => chainOf({ name, rules });
