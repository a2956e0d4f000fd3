// The metadata service as each instance has it: one service for all, with both versions, which cannot be set up for one instance.
import type * as ec2 from '@aws-sdk/client-ec2';
import { fail } from './action.ts';

/** Refuses what cannot be. How far an answer may travel is not bounded, and so any bound that is asked for is taken. */
export function refuseMetadataOptions(asked: Omit<ec2.ModifyInstanceMetadataOptionsRequest, 'InstanceId' | 'DryRun'> | undefined): void {
  const refused: readonly (readonly [boolean, string])[] = [
    [asked?.HttpEndpoint === 'disabled', 'The metadata service cannot be disabled for an instance.'],
    [asked?.HttpTokens === 'required', 'The metadata service cannot be made to require tokens.'],
    [asked?.HttpProtocolIpv6 === 'enabled', 'The metadata service has no IPv6 address.'],
    [asked?.InstanceMetadataTags === 'enabled', 'Tags of instances are not among their metadata.'],
  ];
  for (const [applies, reason] of refused) if (applies) fail('UnsupportedOperation', reason);
}

export const metadataOptions: ec2.InstanceMetadataOptionsResponse = {
  State: 'applied', HttpTokens: 'optional', HttpPutResponseHopLimit: 64, HttpEndpoint: 'enabled',
  HttpProtocolIpv6: 'disabled', InstanceMetadataTags: 'disabled',
};
