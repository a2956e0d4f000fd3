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

export interface CertificateDriver {
  /** An authority of its own, or one below `issuer` that signs no other authorities. */
  createAuthority(wish: { readonly name: string; readonly days: number; readonly issuer?: KeyAndCertificate }): Promise<KeyAndCertificate>;
  /** A new key, and a certificate for it that is good for one side of a connection only. */
  issue(wish: { readonly name: string; readonly days: number; readonly usage: 'server' | 'client'; readonly issuer: KeyAndCertificate }): Promise<Issued>;
  /** The signed list of what an authority has taken back. */
  revocations(issuer: KeyAndCertificate, revoked: readonly Revoked[], now: Date): Promise<string>;
}
