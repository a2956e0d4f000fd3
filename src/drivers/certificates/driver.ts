// What makes certificates: an authority, what it signs, and the list of what it has taken back. Keys and certificates are PEM texts; nothing of them
// stays with the driver.

export interface KeyAndCertificate {
  readonly certificate: string;
  readonly key: string;
}

export interface Issued extends KeyAndCertificate {
  /** Hexadecimal, as the list of revoked ones has it. */
  readonly serial: string;
  readonly expiresAt: Date;
}

export interface Revoked {
  readonly serial: string;
  readonly revokedAt: Date;
  readonly expiresAt: Date;
}

/**
 * `server` and `client` are good for one side of a connection only. `person` is what tools of EC2's first years know: an RSA key that also signs and
 * decrypts, as bundles of images need it.
 */
export type Usage = 'server' | 'client' | 'person';

export interface IssueWish {
  readonly name: string;
  readonly days: number;
  readonly usage: Usage;
  readonly issuer: KeyAndCertificate;
  /** What clients call a server: names of hosts, `*.` before one for all right below it, and IP addresses. */
  readonly hosts?: readonly string[];
}

export interface CertificateDriver {
  /** An authority of its own, or one below `issuer` that signs no other authorities. */
  createAuthority(wish: { readonly name: string; readonly days: number; readonly issuer?: KeyAndCertificate }): Promise<KeyAndCertificate>;
  /** A new key, and a certificate for it. */
  issue(wish: IssueWish): Promise<Issued>;
  /** The signed list of what an authority has taken back. */
  revocations(issuer: KeyAndCertificate, revoked: readonly Revoked[], now: Date): Promise<string>;
  /** An RSA key, and a certificate for it that it signed itself: to it things are encrypted by whoever has the certificate. */
  createRecipient(wish: { readonly name: string; readonly days: number }): Promise<KeyAndCertificate>;
  /** What was encrypted to such a certificate with the padding of PKCS #1 v1.5: a text. Error: DriverError `failed`, which says no more than that. */
  decrypt(key: string, encrypted: Buffer): Promise<string>;
}
