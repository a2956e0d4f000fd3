// The names and the public address that an instance is shown with: the floating address that leads to it. Without one, the address that the network
// gave it is shown while it runs, where it is what the instance can be reached at: an address is never shown that would not answer.
import type { FullInstance } from '../../db/instances.ts';

/** The address at which the instance can be reached. */
export const reachableAddress = (instance: FullInstance): string | undefined =>
  instance.floating?.address ?? (instance.state === 'running' && instance.hasPublicAddress ? instance.address : undefined);

/** Its name, which is the address itself: nothing outside knows names. None in a VPC that is not to have any. */
export const publicName = (instance: FullInstance): string => (instance.place?.enableDnsHostnames === false ? '' : (reachableAddress(instance) ?? ''));

/** The name that the guests' DNS answers; none before there is an address. */
export const privateName = (instance: FullInstance, dnsDomain: string): string | undefined =>
  instance.address === undefined ? undefined : `${instance.id}.${dnsDomain}`;
