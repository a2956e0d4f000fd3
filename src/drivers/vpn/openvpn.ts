// VPN end points by OpenVPN: a server for each, a daemon of its own that stays while novact restarts and is found again in /proc by its
// configuration. Its port is the host's; where the project's gateway is in a namespace, its tunnel device is moved there.
import { access, chmod, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import { endProcess, findProcesses, type FoundProcess } from '../../lib/processes.ts';
import { retry, type RetryOptions } from '../../lib/retry.ts';
import { endpointFiles, renderRules, renderServer, vpnTableName, type EndpointFiles } from './configuration.ts';
import type { VpnDriver, VpnEndpoint } from './driver.ts';

export interface OpenvpnSettings {
  readonly run: Run;
  readonly clock: Clock;
  /** A folder of this driver's own, closed to others: the servers' keys are in it. */
  readonly stateDirectory: string;
}

interface Tools extends Pick<OpenvpnSettings, 'run' | 'clock'> {
  readonly files: EndpointFiles;
}

const startTimeoutMs = 20_000;
const managementTimeoutMs = 5_000;

export function createOpenvpn({ run, clock, stateDirectory }: OpenvpnSettings): VpnDriver {
  const filesOf = (id: string): EndpointFiles => endpointFiles(join(stateDirectory, id));
  /** Namespaces that have rules of ours, so that they are taken away with the last end point. */
  const ruled = new Set<string>();
  /** Nothing was wished for, and nothing of an earlier start is left: then there is nothing to look at every few seconds. */
  let isBare = false;
  const within = (namespace: string): Run => runWithin(run, namespace);

  async function ensureEndpoint(endpoint: VpnEndpoint): Promise<void> {
    const files = filesOf(endpoint.id);
    const { changed, hasRevoked } = await writeFiles(endpoint, files);
    const [server, ...doubles] = await serversOf(files);
    for (const double of doubles) await endProcess(double, clock);
    const isRight = server !== undefined && !changed && (await hasDevice(within(endpoint.namespace ?? ''), endpoint.device));
    if (!isRight) return startServer({ run, clock, files }, endpoint, server);
    // The server reads the list at each handshake; who is connected already is told to go.
    if (hasRevoked) for (const name of endpoint.revokedNames) await manage(files.socket, `kill ${name}`);
  }

  async function inEachNamespace(endpoints: readonly VpnEndpoint[]): Promise<unknown[]> {
    const failures: unknown[] = [];
    for (const namespace of new Set([...ruled, '', ...endpoints.map(({ namespace: own = '' }) => own)])) {
      const wanted = endpoints.filter((endpoint) => (endpoint.namespace ?? '') === namespace);
      try {
        // The rules first: a tunnel without them would be open for a moment. On the host every tunnel is for a moment, whatever its namespace.
        await ensureRules(within(namespace), namespace === '' ? endpoints : wanted, namespace);
        if (wanted.length > 0) ruled.add(namespace);
        else ruled.delete(namespace);
      } catch (error) {
        failures.push(error);
        continue;
      }
      for (const endpoint of wanted) await ensureEndpoint(endpoint).catch((error: unknown) => failures.push(error));
    }
    return failures;
  }

  return {
    info: { name: 'openvpn', plumbs: true },
    probe: () => probe(run),
    async ensureEndpoints(endpoints) {
      if (endpoints.length === 0 && isBare) return;
      isBare = false;
      await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
      await chmod(stateDirectory, 0o700);
      await removeOthers({ clock, stateDirectory }, endpoints);
      const failures = await inEachNamespace(endpoints);
      // What one project lacks, such as its router, is not to keep others from theirs.
      if (failures.length > 0) throw failures[0];
      isBare = endpoints.length === 0;
    },
    connected: (id) => connectedNow(filesOf(id)),
  };
}

async function startServer({ run, clock, files }: Tools, endpoint: VpnEndpoint, old: FoundProcess | undefined): Promise<void> {
  if (old !== undefined) await endProcess(old, clock);
  // The command ends when its daemon begins, which binds the port and opens the tunnel then.
  await run('openvpn', ['--config', files.configuration, '--daemon', 'novact-vpn'], { timeoutMs: startTimeoutMs });
  const address = await retry(async () => {
    if ((await serversOf(files)).length === 0) throw new DriverError('failed', `the VPN server of ${endpoint.id} ended as soon as it was started`);
    return (await addressOf(run, endpoint.device)) ?? refuseYet(endpoint);
  }, untilOpen(clock));
  if (endpoint.namespace !== undefined) await moveDevice(run, endpoint.device, { namespace: endpoint.namespace, address });
}

/** About as long as a command may take. */
const untilOpen = (clock: Clock): RetryOptions => ({
  clock, triesMax: 85, firstDelayMs: 15, delayMsMax: 250, mayRetry: (error) => error instanceof DriverError && error.kind === 'timeout',
});

function refuseYet({ id, device }: VpnEndpoint): never {
  throw new DriverError('timeout', `the VPN server of ${id} has not opened its tunnel ${device}`);
}

/** What a server must be started anew for, and the list that it reads by itself. */
async function writeFiles(endpoint: VpnEndpoint, files: EndpointFiles): Promise<{ changed: boolean; hasRevoked: boolean }> {
  await mkdir(files.directory, { recursive: true, mode: 0o700 });
  const changed = [
    await replaceFile(files.authorities, endpoint.authorities), await replaceFile(files.certificate, endpoint.certificate),
    await replaceFile(files.key, endpoint.key), await replaceFile(files.controlKey, endpoint.controlKey),
    await replaceFile(files.configuration, renderServer(endpoint, files)),
  ].includes(true);
  return { changed, hasRevoked: await replaceFile(files.revocations, endpoint.revocations) };
}

/** The rules of one namespace; taken away with its last end point. */
async function ensureRules(run: Run, endpoints: readonly VpnEndpoint[], namespace: string): Promise<void> {
  if (endpoints.length > 0 || (await hasRules(run))) await run('nft', ['-f', '-'], { input: renderRules(endpoints, namespace) });
}

/** Ends and forgets what is not wished for any more. */
async function removeOthers({ clock, stateDirectory }: Pick<OpenvpnSettings, 'clock' | 'stateDirectory'>, endpoints: readonly VpnEndpoint[]): Promise<void> {
  const wanted = new Set(endpoints.map(({ id }) => id));
  for (const id of (await readdir(stateDirectory)).filter((name) => !wanted.has(name))) {
    const files = endpointFiles(join(stateDirectory, id));
    for (const server of await serversOf(files)) await endProcess(server, clock);
    await rm(files.directory, { recursive: true, force: true });
  }
}

/** `''` is the host's own namespace. */
const runWithin = (run: Run, namespace: string): Run =>
  namespace === '' ? run : (command, args, options) => run('ip', ['netns', 'exec', namespace, command, ...args], options);

/** With its prefix. Undefined: there is no such device, or it has none. */
async function addressOf(run: Run, device: string): Promise<string | undefined> {
  const { code, stdout } = await run('ip', ['-j', 'address', 'show', 'dev', device], { okCodes: [0, 1] });
  const [link] = (code === 0 ? JSON.parse(stdout) : []) as { addr_info?: { local: string; prefixlen: number; family: string }[] }[];
  const own = link?.addr_info?.find(({ family }) => family === 'inet');
  return own && `${own.local}/${own.prefixlen}`;
}

/** Into the namespace of the project's router, with the address that it had. */
async function moveDevice(run: Run, device: string, { namespace, address }: { namespace: string; address: string }): Promise<void> {
  await run('ip', ['link', 'set', device, 'netns', namespace]);
  await run('ip', ['-n', namespace, 'address', 'add', address, 'dev', device]);
  await run('ip', ['-n', namespace, 'link', 'set', device, 'up']);
}

const hasDevice = async (run: Run, device: string): Promise<boolean> =>
  (await run('ip', ['link', 'show', 'dev', device], { okCodes: [0, 1] })).code === 0;

async function probe(run: Run): Promise<void> {
  const { code } = await run('sh', ['-c', 'command -v openvpn'], { okCodes: [0, 1, 127] });
  if (code !== 0) throw new DriverError('unsupported', 'openvpn is not installed; try: apt-get install openvpn');
  await access('/dev/net/tun').catch((cause: unknown) => {
    throw new DriverError('unsupported', 'this host has no tunnel devices (/dev/net/tun); try: modprobe tun', { cause });
  });
}

const hasRules = async (run: Run): Promise<boolean> => (await run('nft', ['list', 'table', 'inet', vpnTableName], { okCodes: [0, 1] })).code === 0;

const serversOf = ({ configuration }: EndpointFiles): Promise<FoundProcess[]> =>
  findProcesses((args) => args[0]?.endsWith('openvpn') === true && args.includes(configuration));

async function connectedNow({ status }: EndpointFiles): Promise<string[]> {
  return clientsIn(await readFile(status, 'utf8').catch(() => '')); // nobody was connected yet
}

/** Names under `Common Name` in the server's status. */
export function clientsIn(status: string): string[] {
  const lines = status.split('\n');
  const from = lines.findIndex((line) => line.startsWith('Common Name,'));
  const to = lines.indexOf('ROUTING TABLE');
  return from < 0 ? [] : lines.slice(from + 1, to).map((line) => line.split(',')[0] ?? '').filter((name) => name !== '');
}

/** One command at the server's own socket. Its answer is not waited for longer than a moment: a name that is not connected is no error. */
function manage(socket: string, command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const connection = createConnection({ path: socket, timeout: managementTimeoutMs });
    connection.on('connect', () => connection.end(`${command}\nquit\n`));
    connection.on('data', () => undefined);
    connection.on('close', () => resolve());
    connection.on('timeout', () => connection.destroy(new DriverError('timeout', 'the VPN server does not answer at its socket')));
    connection.on('error', reject);
  });
}

/** Whole or not at all; returns whether anything changed. */
async function replaceFile(path: string, content: string): Promise<boolean> {
  const old = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? undefined : Promise.reject(error)));
  if (old === content) return false;
  await writeFile(`${path}.new`, content, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return true;
}
