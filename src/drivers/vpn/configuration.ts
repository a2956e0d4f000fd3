// The text that an OpenVPN server is started with, and the rules around its tunnel. Pure, so that equal wishes give equal texts.
import ipaddr from 'ipaddr.js';
import { DriverError } from '../../lib/errors.ts';
import type { VpnEndpoint } from './driver.ts';

export interface EndpointFiles {
  readonly directory: string;
  readonly configuration: string;
  readonly authorities: string;
  readonly certificate: string;
  readonly key: string;
  readonly controlKey: string;
  readonly revocations: string;
  readonly status: string;
  readonly socket: string;
}

export function endpointFiles(directory: string): EndpointFiles {
  const at = (name: string): string => `${directory}/${name}`;
  return {
    directory, configuration: at('server.conf'), authorities: at('ca.pem'), certificate: at('server.pem'), key: at('server.key'),
    controlKey: at('control.key'), revocations: at('crl.pem'), status: at('status'), socket: at('management'),
  };
}

const linkForm = /^[A-Za-z0-9_.-]{1,15}$/;

function checked(endpoint: VpnEndpoint): { clients: string; network: string } {
  for (const name of [endpoint.device, endpoint.network.bridge]) {
    if (!linkForm.test(name)) throw new DriverError('failed', `not a name of an interface: ${JSON.stringify(name)}`);
  }
  if (!Number.isInteger(endpoint.port) || endpoint.port < 1 || endpoint.port > 65_535) throw new DriverError('failed', `not a port: ${endpoint.port}`);
  return { clients: cidrOf(endpoint.clients), network: cidrOf(endpoint.network.cidr) };
}

function cidrOf(text: string): string {
  if (!ipaddr.IPv4.isValidCIDRFourPartDecimal(text)) throw new DriverError('failed', `not an IPv4 network: ${JSON.stringify(text)}`);
  return text;
}

/** `10.45.0.0 255.255.240.0`. */
const addressAndMask = (cidr: string): string =>
  `${ipaddr.IPv4.networkAddressFromCIDR(cidr).toString()} ${ipaddr.IPv4.subnetMaskFromPrefixLength(Number(cidr.split('/')[1])).toString()}`;

export function renderServer(endpoint: VpnEndpoint, files: EndpointFiles): string {
  const { clients, network } = checked(endpoint);
  return `${[
    `port ${endpoint.port}`, 'proto udp', 'multihome', `dev ${endpoint.device}`, 'dev-type tun', 'topology subnet',
    `server ${addressAndMask(clients)}`, `push "route ${addressAndMask(network)}"`,
    `ca ${files.authorities}`, `cert ${files.certificate}`, `key ${files.key}`, 'dh none', `tls-crypt ${files.controlKey}`, `crl-verify ${files.revocations}`,
    'remote-cert-tls client', 'tls-version-min 1.2', 'data-ciphers AES-256-GCM:CHACHA20-POLY1305', 'auth SHA256',
    'keepalive 10 60', 'persist-key', 'persist-tun', 'max-clients 100', 'script-security 1',
    `management ${files.socket} unix`, `status ${files.status} 5`, 'verb 1', 'mute 5',
  ].join('\n')}\n`;
}

/** What a client is given: everything in one file, the place of the server included. */
export function renderClient(client: {
  readonly address: string;
  readonly port: number;
  readonly authorities: string;
  readonly certificate: string;
  readonly key: string;
  readonly controlKey: string;
}): string {
  const inline = (name: string, text: string): string => `<${name}>\n${text.trimEnd()}\n</${name}>`;
  return `${[
    'client', 'dev tun', 'proto udp', `remote ${client.address} ${client.port}`, 'nobind', 'persist-key', 'persist-tun', 'remote-cert-tls server',
    'tls-version-min 1.2', 'data-ciphers AES-256-GCM:CHACHA20-POLY1305', 'auth SHA256', 'verb 1',
    inline('ca', client.authorities), inline('cert', client.certificate), inline('key', client.key), inline('tls-crypt', client.controlKey),
  ].join('\n')}\n`;
}

export const vpnTableName = 'novact_vpn';

/**
 * From a tunnel to its project's network, answers back, and nothing else: not to the host, not to other networks, not from tunnel to tunnel. A
 * tunnel on its way into another namespace carries nothing here. `''` is the host's own namespace.
 */
export function renderRules(endpoints: readonly VpnEndpoint[], namespace: string): string {
  const head = `table inet ${vpnTableName}\ndelete table inet ${vpnTableName}\n`;
  if (endpoints.length === 0) return head;
  const rules = endpoints.toSorted((a, b) => (a.device < b.device ? -1 : 1)).flatMap((endpoint) => {
    const { clients, network } = checked(endpoint);
    const { device, network: { bridge } } = endpoint;
    if ((endpoint.namespace ?? '') !== namespace) return [`iifname "${device}" drop`, `oifname "${device}" drop`];
    return [
      `iifname "${device}" oifname "${bridge}" ip saddr ${clients} ip daddr ${network} accept`,
      `iifname "${device}" drop`,
      `oifname "${device}" iifname "${bridge}" ip saddr ${network} ip daddr ${clients} accept`,
      `oifname "${device}" drop`,
    ];
  });
  const input = endpoints.map(({ device }) => `iifname "${device}" drop`).toSorted();
  const chain = (name: string, lines: readonly string[]): string => `  chain ${name} {\n${lines.map((line) => `    ${line}\n`).join('')}  }\n`;
  return `${head}table inet ${vpnTableName} {\n${chain('forward', ['type filter hook forward priority filter - 10; policy accept;', ...rules])}${
    chain('input', ['type filter hook input priority filter - 10; policy accept;', ...input])}}\n`;
}
