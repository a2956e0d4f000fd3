// Every table, for the database handle's type.
export * from './addresses.ts';
export * from './audit.ts';
export * from './certificates.ts';
export * from './hosts.ts';
export * from './identity.ts';
export * from './images.ts';
export * from './imports.ts';
export * from './instances.ts';
export * from './networks.ts';
export * from './objects.ts';
export * from './operations.ts';
export * from './signing-certificates.ts';
export * from './vpcs.ts';
export * from './vpns.ts';
export * from './volumes.ts';
