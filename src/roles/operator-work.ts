// What clients of the Admin API may ask for that an operator's command does: the API itself knows no drivers.
import type { OperatorWork } from '../api/ec2/action.ts';
import { listVpns } from '../db/vpns.ts';
import { ApiError, SetupError } from '../lib/errors.ts';
import { credentialsZip } from './manage/credentials.ts';
import type { ManageDeps } from './manage/deps.ts';
import { addressOf, createVpn } from './manage/vpn-life.ts';

const vpnPortFirst = 1194;

export const createOperatorWork = (deps: ManageDeps): OperatorWork => ({
  startVpn: (project) => inApiWords(async () => {
    const host = await vpnHost(deps);
    return (await createVpn(deps, { project, host, port: await freePort(deps, host), address: await addressOf(deps, host) })).id;
  }),
  userCredentials: (user, project) => inApiWords(() => credentialsZip(deps, { user, project })),
});

/** This host, if it has a network role; else any that is heard of. */
async function vpnHost({ directory, settings }: ManageDeps): Promise<string> {
  const hosts = (await directory.services('network')).map(({ host }) => host).toSorted();
  const host = hosts.includes(settings.host) ? settings.host : hosts[0];
  if (host === undefined) throw new SetupError('no network role is heard of', 'Start one.');
  return host;
}

async function freePort({ db }: ManageDeps, host: string): Promise<number> {
  const taken = new Set((await listVpns(db)).filter(({ vpn }) => vpn.host === host).map(({ vpn }) => vpn.port));
  let port = vpnPortFirst;
  while (taken.has(port)) port += 1;
  return port;
}

/** What an operator could mend is for a superuser to read. */
async function inApiWords<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SetupError) throw new ApiError('IncorrectState', `${error.message}. ${error.remedy}`);
    throw error;
  }
}
