// Who serves which role where, now. Roles announce themselves and keep a lease; whoever does not renew it is gone from `services` at once,
// and can still be found in `lastSeen`. Time is the directory's own (the server's), so that a host with a wrong clock is neither dead nor
// immortal. What is known here may be lost at any time (a Redis that was emptied): the next renewal brings it back.
import type { Role } from '../messages/protocol.ts';

export interface ServiceRecord {
  readonly role: Role;
  readonly host: string;
  /** The name of the process, unique in the cloud. */
  readonly process: string;
  /** Of this start, taken in the database; 0 for roles without owned work. */
  readonly epoch: number;
  readonly version: string;
  /** Where other hosts reach it. */
  readonly address?: string | undefined;
  /** Numbers that help to choose (free memory, load): hints only, claims are made in the database. */
  readonly hints?: Readonly<Record<string, number>> | undefined;
}

export interface Announcement {
  /** Is the lease held? False after a time without contact, until it is renewed. */
  held(): boolean;
  /** Changes the record; others see it at once. */
  update(changes: Partial<Pick<ServiceRecord, 'hints' | 'epoch'>>): Promise<void>;
  /** Says goodbye. */
  withdraw(): Promise<void>;
}

export interface LastSeen {
  readonly host: string;
  /** Since the last renewal, by the directory's clock. */
  readonly agoMs: number;
}

export interface Directory {
  /** Resolves when it is written; from then on the lease is renewed until `withdraw`, also through outages. */
  announce(service: ServiceRecord): Promise<Announcement>;
  /** The services of a role whose lease is held, by host and process. Answered from a cache that the server invalidates. */
  services(role: Role): Promise<readonly ServiceRecord[]>;
  /** Every host that was announced for the role and did not say goodbye, dead ones included. Not cached. */
  lastSeen(role: Role): Promise<readonly LastSeen[]>;
  /** Takes a dead host out for good (`novact manage host remove`). */
  forget(role: Role, host: string): Promise<void>;
  close(): Promise<void>;
}

/** The hosts that serve the role now, in order of their names. */
export async function hostsIn(directory: Directory, role: Role): Promise<readonly string[]> {
  const services = await directory.services(role);
  return [...new Set(services.map(({ host }) => host))].toSorted();
}

/** What a transport announces for an owned mailbox. */
export const ownedService = (
  owner: Pick<ServiceRecord, 'role' | 'host' | 'process'>, options: { readonly service?: Partial<ServiceRecord> },
): ServiceRecord => ({ epoch: 0, version: '', ...options.service, ...owner });
