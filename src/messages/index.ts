// The registry of all protocols: what the transport checks envelopes against and the reference is generated from.
import { computeProtocol } from './compute.ts';
import { networkProtocol } from './network.ts';
import { objectstoreProtocol } from './objectstore.ts';
import { schedulerProtocol } from './scheduler.ts';
import { volumeProtocol } from './volume.ts';

export const protocols = {
  compute: computeProtocol,
  network: networkProtocol,
  objectstore: objectstoreProtocol,
  scheduler: schedulerProtocol,
  volume: volumeProtocol,
} as const;

export type Protocols = typeof protocols;
