// The parameters of RunInstances that need no database: their forms, limits and what this cloud does not have. A parameter that would
// promise something which is not there is refused; one that only tunes Amazon's machines is let pass.
import { createHash } from 'node:crypto';
import { fail, type InputOf } from './action.ts';
import { tagsFor } from './tag-specifications.ts';

export type LaunchInput = InputOf<'RunInstances'>;

export const ownIPv6Addresses = 'Instances make IPv6 addresses for themselves, on a network that has them: none can be asked for.';
const userDataBytesMax = 16_384;
const countLimit = 1000;
const clientTokenLengthMax = 64;
export const rootGiBMax = 16_384;

/** Decodes what the client sent as base64; undefined for none. */
export function checkUserData(given: string | undefined): string | undefined {
  const text = (given ?? '').replaceAll(/\s/g, '');
  if (text === '') return undefined;
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || text.replace(/=+$/, '').length % 4 === 1) fail('InvalidUserData.Malformed',
    'Invalid BASE64 encoding of user data.');
  if (Buffer.from(text, 'base64').length > userDataBytesMax) fail('InvalidParameterValue', `User data is limited to ${userDataBytesMax} bytes`);
  return text;
}

export function checkCounts(input: Pick<LaunchInput, 'MinCount' | 'MaxCount'>): { countMin: number; countMax: number } {
  const { MinCount: countMin = 1, MaxCount: countMax = countMin } = input;
  if (countMin < 1) fail('InvalidParameterValue', `Value (${countMin}) for parameter minCount is invalid. It must be at least 1.`);
  if (countMax < countMin) fail('InvalidParameterValue', `Value (${countMax}) for parameter maxCount is invalid. It must not be less than minCount.`);
  if (countMax > countLimit) fail('InvalidParameterValue', `Value (${countMax}) for parameter maxCount is invalid. It must be at most ${countLimit}.`);
  return { countMin, countMax };
}

export function checkClientToken(token: string | undefined): string | null {
  if (token === undefined || token === '') return null;
  if (token.length > clientTokenLengthMax || !/^[\x21-\x7e]+$/.test(token)) {
    fail('InvalidParameterValue', `Value for parameter clientToken is invalid. It must be at most ${clientTokenLengthMax} ASCII characters.`);
  }
  return token;
}

/** Names what is asked for, whatever order the parameters came in. */
export function requestDigest(input: { readonly ClientToken?: string | undefined; readonly DryRun?: boolean | undefined }): string {
  const { ClientToken: _token, DryRun: _dryRun, ...rest } = input;
  return createHash('sha256').update(canonicalText(rest)).digest('hex');
}

function canonicalText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`;
  if (value instanceof Date || typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([, member]) => member !== undefined).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, member]) => `${JSON.stringify(key)}:${canonicalText(member)}`).join(',')}}`;
}

/** Refuses what this cloud does not have, in one table: a readable reason for each. */
export function refuseUnsupported(input: LaunchInput): void {
  const { Placement: placement } = input;
  const refused: readonly (readonly [boolean, string])[] = [
    [(input.Ipv6AddressCount ?? 0) > 0 || (input.Ipv6Addresses?.length ?? 0) > 0, ownIPv6Addresses],
    [input.LaunchTemplate !== undefined, 'Launch templates are not supported.'],
    [input.InstanceMarketOptions !== undefined, 'Spot instances are not supported.'],
    [isGiven(input.IamInstanceProfile?.Arn) || isGiven(input.IamInstanceProfile?.Name), 'Instance profiles are not supported.'],
    [input.HibernationOptions?.Configured === true, 'Hibernation is not supported.'],
    [input.EnclaveOptions?.Enabled === true, 'Enclaves are not supported.'],
    [input.DisableApiStop === true, 'The attribute disableApiStop is not supported.'],
    [(input.ElasticGpuSpecification?.length ?? 0) + (input.ElasticInferenceAccelerators?.length ?? 0) > 0, 'Accelerators are not supported.'],
    [input.CapacityReservationSpecification?.CapacityReservationTarget !== undefined, 'Capacity reservations are not supported.'],
    [(input.LicenseSpecifications?.length ?? 0) > 0, 'License configurations are not supported.'],
    [(input.SecondaryInterfaces?.length ?? 0) > 0, 'Instances have one network interface.'],
    [isGiven(placement?.GroupName) || isGiven(placement?.GroupId), 'Placement groups are not supported.'],
    [isGiven(placement?.HostId) || isGiven(placement?.HostResourceGroupArn), 'Dedicated hosts are not supported.'],
    [isGiven(placement?.Tenancy) && placement?.Tenancy !== 'default', 'The only tenancy is default.'],
  ];
  for (const [applies, reason] of refused) if (applies) fail('UnsupportedOperation', reason);
}

const isGiven = (text: string | undefined): boolean => text !== undefined && text !== '';

/** Of the instances, of their network interfaces, and of the volumes that they are launched with: Terraform and Ansible give them in any case. */
export const launchTags = (input: LaunchInput) => ({
  instance: tagsFor(input.TagSpecifications, 'instance', ['volume', 'network-interface']),
  interface: tagsFor(input.TagSpecifications, 'network-interface', ['volume', 'instance']),
  volume: tagsFor(input.TagSpecifications, 'volume', ['instance', 'network-interface']),
});

export function checkShutdownBehavior(text: string | undefined): 'stop' | 'terminate' {
  if (text === undefined || text === '' || text === 'stop') return 'stop';
  if (text === 'terminate') return text;
  return fail('InvalidParameterValue',
    `Value (${text.slice(0, 60)}) for parameter instanceInitiatedShutdownBehavior is invalid. Valid values: stop, terminate.`);
}
