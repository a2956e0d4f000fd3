// Ranges of addresses as clients ask for them: of VPCs, of subnets, and where routes lead to.
import ipaddr from 'ipaddr.js';
import { rangeOfCidr, rangesMeet, type AddressRange } from '../../lib/ipv4.ts';
import { fail } from './action.ts';

/** Of VPCs and subnets, as at AWS. */
const prefixLimits = { min: 16, max: 28 };

/** Ranges that a host needs for itself (link-local ones lead to its routers), and those that are no guest's. */
const kept = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].map(rangeOfCidr);

/** A network in its canonical form: AWS clears the bits of hosts as well. */
export function checkCidr(given: string | undefined, parameter: string): string {
  if (given === undefined || given === '') return fail('MissingParameter', `The request must contain the parameter ${parameter}`);
  if (!ipaddr.IPv4.isValidCIDRFourPartDecimal(given)) {
    return fail('InvalidParameterValue', `Value (${given.slice(0, 60)}) for parameter ${parameter} is invalid. This is not a valid CIDR block.`);
  }
  return `${ipaddr.IPv4.networkAddressFromCIDR(given).toString()}/${Number(given.split('/')[1])}`;
}

/** The range of a VPC or of a subnet. */
export function checkRange(given: string | undefined, kind: 'Vpc' | 'Subnet'): { readonly cidr: string; readonly range: AddressRange } {
  const cidr = checkCidr(given, 'cidrBlock');
  const [range, prefix] = [rangeOfCidr(cidr), Number(cidr.split('/')[1])];
  if (prefix < prefixLimits.min || prefix > prefixLimits.max || kept.some((one) => rangesMeet(one, range))) {
    fail(`Invalid${kind}.Range`, `The CIDR '${cidr}' is invalid.`);
  }
  return { cidr, range };
}
