// The forms of a libvirt URI that novact takes, and where the daemon behind each of them listens.
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { SetupError } from '../../../lib/errors.ts';

export type LibvirtKind = 'qemu' | 'lxc' | 'xen';

export interface LibvirtUri {
  readonly kind: LibvirtKind;
  /** As libvirtd wants it: `qemu:///system`. */
  readonly uri: string;
  /** Where the daemon may listen: the first that exists is used, the first of all when none does. */
  readonly sockets: readonly string[];
}

/** The names of libvirt's newer daemons, one for each hypervisor, beside the one libvirtd. */
const modularDaemons: Record<LibvirtKind, string> = { qemu: 'virtqemud', lxc: 'virtlxcd', xen: 'virtxend' };

const accepted = 'Use qemu:///system, lxc:///system, xen:///system or qemu:///session, with ?socket=PATH for a socket elsewhere.';

export function parseLibvirtUri(text: string, socket?: string): LibvirtUri {
  const match = /^(qemu|lxc|xen):\/\/\/(system|session)?(?:\?socket=([^&]+))?$/.exec(text);
  if (match === null) throw new SetupError(`cannot use the libvirt URI ${text}`, accepted);
  const kind = match[1] as LibvirtKind;
  const scope = match[2] ?? 'system';
  if (scope === 'session' && kind !== 'qemu') throw new SetupError(`${kind} has no session daemon: ${text}`, accepted);
  const given = socket ?? (match[3] === undefined ? undefined : decodeURIComponent(match[3]));
  return { kind, uri: `${kind}:///${scope}`, sockets: given === undefined ? defaultSockets(kind, scope) : [given] };
}

/** The socket to try now: daemons come and go between two tries. */
export function socketOf(uri: LibvirtUri): string {
  return uri.sockets.find((path) => existsSync(path)) ?? uri.sockets[0] ?? '';
}

function defaultSockets(kind: LibvirtKind, scope: string): readonly string[] {
  const directory = scope === 'system' ? '/run/libvirt' : join(process.env['XDG_RUNTIME_DIR'] ?? join(homedir(), '.cache'), 'libvirt');
  return [join(directory, 'libvirt-sock'), join(directory, `${modularDaemons[kind]}-sock`)];
}
