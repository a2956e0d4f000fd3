// What of the metadata service can be set up for an instance: whether it answers at all, and whether only with a session's token (IMDSv2).
import type * as ec2 from '@aws-sdk/client-ec2';
import type { InstanceRow } from '../../db/instances.ts';
import { fail, type Call } from './action.ts';
import { requireRelease } from './upgrading.ts';

type Asked = Omit<ec2.ModifyInstanceMetadataOptionsRequest, 'InstanceId' | 'DryRun'>;
export type MetadataChange = Partial<Pick<InstanceRow, 'metadataEndpoint' | 'metadataTokens'>>;

const hopsMax = 64;

/** What is asked for, as the instance keeps it. How far an answer may travel is not bounded, and so any bound that is asked for is taken. */
export async function readMetadataOptions(call: Pick<Call, 'directory'>, asked: Asked = {}): Promise<MetadataChange> {
  const { HttpEndpoint: endpoint, HttpTokens: tokens, HttpPutResponseHopLimit: hops } = asked;
  const metadataEndpoint = oneOf(['enabled', 'disabled'], endpoint, 'HttpEndpoint');
  const metadataTokens = oneOf(['optional', 'required'], tokens, 'HttpTokens');
  for (const [parameter, reason] of refused) {
    if (oneOf(['enabled', 'disabled'], asked[parameter], parameter) === 'enabled') fail('UnsupportedOperation', reason);
  }
  if (hops !== undefined && (hops < 1 || hops > hopsMax)) {
    fail('InvalidParameterValue', `Value (${hops}) for parameter HttpPutResponseHopLimit is invalid. It must be an integer between 1 and ${hopsMax}.`);
  }
  // An older metadata service would go on answering as before.
  if (metadataEndpoint === 'disabled' || metadataTokens === 'required') await requireRelease(call, 'network', '0.3.0');
  return { ...(metadataEndpoint === undefined ? {} : { metadataEndpoint }), ...(metadataTokens === undefined ? {} : { metadataTokens }) };
}

const refused = [
  ['HttpProtocolIpv6', 'The metadata service has no IPv6 address.'], ['InstanceMetadataTags', 'Tags of instances are not among their metadata.'],
] as const;

function oneOf<const Value extends string>(values: readonly Value[], text: string | undefined, parameter: string): Value | undefined {
  if (text === undefined || text === '') return undefined;
  return values.find((value) => value === text)
    ?? fail('InvalidParameterValue', `Value (${text.slice(0, 60)}) for parameter ${parameter} is invalid. Valid values: ${values.join(', ')}.`);
}

export const showMetadataOptions = ({ metadataEndpoint, metadataTokens }: Pick<InstanceRow, 'metadataEndpoint' | 'metadataTokens'>) => ({
  State: 'applied', HttpTokens: metadataTokens, HttpPutResponseHopLimit: hopsMax, HttpEndpoint: metadataEndpoint, HttpProtocolIpv6: 'disabled',
  InstanceMetadataTags: 'disabled',
} satisfies ec2.InstanceMetadataOptionsResponse);
