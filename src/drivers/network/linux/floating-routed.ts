// Floating addresses of guests behind routers of projects: the host answers for them on the link to the outside (by proxy ARP, for they are not its
// own) and leads them to the router, whose namespace has the NAT. What is novact's is known by the protocol of its routes; others stay.
import { messageOf } from '../../../lib/errors.ts';
import { addressNumber, addressText } from '../../../lib/ipv4.ts';
import type { FirewallSpec } from '../driver.ts';
import { readLink } from './bridge.ts';
import { linksOf, type FloatingChange, type Outside, type Route } from './floating.ts';
import { checkAddress, checkLinkName } from './names.ts';
import { readSwitch, writeSwitch } from './uplink.ts';

/** Marks a route as novact's. */
const protocol = '211';

/** An address, and the router's link by which it is reached. */
interface Led {
  readonly address: string;
  readonly link: string;
}

export function ledByRouters({ floating = [], networks }: FirewallSpec): Led[] {
  const links = new Map(networks.flatMap(({ bridge, router }) => (router === undefined ? [] : [[bridge, checkLinkName(router.link)]])));
  return floating.flatMap(({ address, bridge }) => {
    const link = links.get(bridge);
    return link === undefined ? [] : [{ address: checkAddress(address), link }];
  });
}

const text = ({ address, link }: Led): string => `${address} ${link}`;

/** Compares the wish with the routes of this host. An address whose router has no link yet is led when this is asked again. */
export async function routedFloatingChange(outside: Outside, wanted: readonly Led[]): Promise<FloatingChange> {
  const { run } = outside;
  const routes = JSON.parse((await run('ip', ['-j', '-4', 'route', 'show', 'table', 'main'])).stdout || '[]') as Route[];
  const own = routes.filter((route) => route.protocol === protocol);
  const others = routes.filter((route) => route.protocol !== protocol);
  const held = own.map(({ dst, dev = '' }) => ({ address: dst, link: dev }));
  const [isHeld, isWished] = [new Set(held.map(text)), new Set(wanted.map(text))];
  const outsideOf = (address: string): string => outside.uplink ?? linksOf(others, [address])[0]?.device ?? 'lo';
  return {
    async leave() {
      for (const one of held.filter((each) => !isWished.has(text(each)))) {
        await run('ip', ['route', 'delete', `${one.address}/32`, 'dev', one.link, 'proto', protocol], { okCodes: [0, 2] });
        await run('ip', ['neigh', 'delete', 'proxy', one.address, 'dev', outsideOf(one.address)], { okCodes: [0, 2] });
      }
    },
    async arrive() {
      const announced: { address: string; device: string }[] = [];
      for (const { address, link } of wanted.filter((each) => !isHeld.has(text(each)))) {
        const near = (await readLink(run, link))?.addr_info?.find(({ family }) => family === 'inet')?.local;
        if (near === undefined) continue;
        const device = outsideOf(address);
        await run('ip', ['route', 'replace', `${address}/32`, 'via', addressText(addressNumber(near) + 1), 'dev', link, 'proto', protocol]);
        await run('ip', ['neigh', 'replace', 'proxy', address, 'dev', device]);
        if (device !== 'lo') announced.push({ address, device });
      }
      if (announced.length > 0) announce(outside, announced);
    },
  };
}

const nonlocalSwitch = '/proc/sys/net/ipv4/ip_nonlocal_bind';

/** As those of the host itself, but for its kernel these addresses are strangers': it lets them be spoken for only while this is said. */
function announce({ run, log }: Outside, addresses: readonly { address: string; device: string }[]): void {
  const say = async (): Promise<void> => {
    const before = (await readSwitch(run, nonlocalSwitch)) ?? '0';
    await writeSwitch(run, nonlocalSwitch, '1');
    try {
      await Promise.all(addresses.map(({ address, device }) => run('arping', ['-q', '-U', '-c', '3', '-I', device, address], { okCodes: [0, 1] })));
    } finally {
      await writeSwitch(run, nonlocalSwitch, before);
    }
  };
  saying = saying.then(say, say).catch((error: unknown) => {
    log.warn({ addresses, error: messageOf(error) }, 'floating addresses behind routers could not be announced');
  });
}

/** One after another: whoever is done must not take the switch from who is not. */
let saying: Promise<void> = Promise.resolve();
