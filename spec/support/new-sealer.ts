// A sealer of one spec: what is sealed by it only it can open.
import { randomBytes } from 'node:crypto';
import { createSealer, type Sealer } from '../../src/lib/sealed.ts';

export const newSealer = (): Sealer => createSealer(randomBytes(32));
