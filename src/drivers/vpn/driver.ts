// The end points of projects' VPNs on a host: for each a server on a UDP port, a tunnel device, and a way from there to the project's network and
// nowhere else.

export interface VpnEndpoint {
  readonly id: string;
  /** Of the tunnel: at most 15 characters. */
  readonly device: string;
  readonly port: number;
  /** The addresses of clients: `172.27.0.0/24`. */
  readonly clients: string;
  /** What clients reach, and by which bridge of this host. */
  readonly network: { readonly cidr: string; readonly bridge: string };
  /** The namespace in which that bridge's gateway is; absent: the host's own. The port is always the host's. */
  readonly namespace?: string | undefined;
  /** PEM: the authorities, the server's certificate with its key, the lists of what was revoked. */
  readonly authorities: string;
  readonly certificate: string;
  readonly key: string;
  readonly revocations: string;
  /** Names of revoked certificates: who is connected by one is cut off. */
  readonly revokedNames: readonly string[];
  /** Shared by server and clients: without it the port is silent. */
  readonly controlKey: string;
}

export interface VpnDriver {
  readonly info: { readonly name: string; readonly plumbs: boolean };
  /** Throws what is missing here, with its remedy. */
  probe(): Promise<void>;
  /** After: exactly these end points are there, each with its newest list of revoked certificates in force. Repeating it changes nothing. */
  ensureEndpoints(endpoints: readonly VpnEndpoint[]): Promise<void>;
  /** Names of the certificates by which clients are connected now. */
  connected(id: string): Promise<readonly string[]>;
}
