// What novact needs of the host around its bridges: forwarding, bridged frames shown to the firewall, and no foreign rule that eats
// everything. It changes one switch (ip_forward), remembers what it was, and only reports on the rules of others.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DriverError, messageOf } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import { tableName } from './nft.ts';

const forwardSwitch = '/proc/sys/net/ipv4/ip_forward';
const bridgedToFirewall = '/proc/sys/net/bridge/bridge-nf-call-iptables';

/**
 * The value of a kernel switch in the network namespace of `run`; undefined if this kernel has none. Read by a command, because this process
 * may be in another namespace.
 */
export async function readSwitch(run: Run, path: string): Promise<string | undefined> {
  const { code, stdout } = await run('cat', [path], { okCodes: [0, 1] });
  return code === 0 ? stdout.trim() : undefined;
}

/** Writes only what differs, so that a read-only /proc that is right already will do. */
export async function writeSwitch(run: Run, path: string, value: string): Promise<void> {
  if ((await readSwitch(run, path)) !== value) await run('tee', [path], { input: value });
}

const previousFile = (stateDirectory: string): string => join(stateDirectory, 'ip_forward.before');

export async function ensureForwarding(run: Run, stateDirectory: string): Promise<void> {
  const before = await readSwitch(run, forwardSwitch);
  if (before === '1') return;
  await writeFile(previousFile(stateDirectory), `${before ?? '0'}\n`, { flag: 'wx' }).catch(ignoreCode('EEXIST'));
  await writeSwitch(run, forwardSwitch, '1');
}

/** Forwarding as it was before novact switched it on. */
export async function restoreForwarding(run: Run, stateDirectory: string): Promise<void> {
  const before = await readFile(previousFile(stateDirectory), 'utf8').catch(ignoreCode('ENOENT'));
  if (before === undefined) return;
  await writeSwitch(run, forwardSwitch, before.trim());
  await rm(previousFile(stateDirectory), { force: true });
}

/**
 * Without br_netfilter, frames between two guests of one bridge would pass no security group. Each bridge of ours switches it on for itself;
 * when it is novact that loads the module, the switch for all bridges goes back to off, so that bridges of others stay as they were.
 */
export async function ensureBridgedFiltering(run: Run): Promise<void> {
  if ((await readSwitch(run, bridgedToFirewall)) !== undefined) return;
  const loaded = await run('modprobe', ['br_netfilter'], { okCodes: [0, 1] }).catch((error: unknown) => ({ stderr: messageOf(error) }));
  if ((await readSwitch(run, bridgedToFirewall)) === undefined) {
    const message = 'the kernel has no br_netfilter, which security groups need between guests of one host; try: modprobe br_netfilter';
    throw new DriverError('unsupported', message, { output: loaded.stderr });
  }
  for (const family of ['iptables', 'ip6tables', 'arptables']) await writeSwitch(run, `/proc/sys/net/bridge/bridge-nf-call-${family}`, '0');
}

/** Can rules match the bridge that a frame is on? */
export async function matchesBridges(run: Run): Promise<boolean> {
  const trial = 'table bridge novact_trial {\n  chain trial {\n    type filter hook prerouting priority 0;\n    meta ibrname "novact" drop\n  }\n}\n';
  return (await run('nft', ['-c', '-f', '-'], { input: trial, okCodes: [0, 1] })).code === 0;
}

interface BaseChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

/** Chains of others that drop by default what novact's own rules accept: an accept in one table does not save a packet from another. */
export async function foreignDropNotices(run: Run): Promise<string[]> {
  const { stdout } = await run('nft', ['-j', 'list', 'chains']);
  const { nftables = [] } = JSON.parse(stdout) as { nftables?: { chain?: BaseChain }[] };
  const chains = nftables.flatMap((entry) => (entry.chain === undefined ? [] : [entry.chain]));
  return chains
    .filter((chain) => chain.table !== tableName && chain.policy === 'drop' && ['ip', 'inet', 'bridge'].includes(chain.family))
    .flatMap((chain) => {
      if (chain.hook !== 'forward' && chain.hook !== 'input') return [];
      const what = `the firewall of this host (chain ${chain.family} ${chain.table} ${chain.name}) ${harms[chain.hook]}`;
      return [`${what}; accept novact's bridges there: ${remedy(chain, chain.hook)}`];
    });
}

const harms = {
  forward: 'drops forwarded packets by default: guests may reach neither each other nor the outside',
  input: 'drops incoming packets by default: guests may get no address by DHCP and no metadata',
};

function remedy(chain: BaseChain, hook: 'forward' | 'input'): string {
  if (chain.family === 'ip' && chain.table === 'filter') {
    return hook === 'forward'
      ? 'iptables -I FORWARD -i BRIDGE -j ACCEPT; iptables -I FORWARD -o BRIDGE -j ACCEPT'
      : 'iptables -I INPUT -i BRIDGE -j ACCEPT';
  }
  const insert = (way: string): string => `nft insert rule ${chain.family} ${chain.table} ${chain.name} ${way} BRIDGE accept`;
  return hook === 'forward' ? `${insert('iifname')}; ${insert('oifname')}` : insert('iifname');
}

const ignoreCode = (code: string) => (error: unknown): undefined => {
  if ((error as NodeJS.ErrnoException).code !== code) throw error;
  return undefined;
};
