// What a start ends with: the line that says ready, where things are, and what to try.
import type { RoleName } from '../config/options.ts';
import { roleLog, statePaths, type Settings } from '../config/settings.ts';
import type { RunningCloud } from './cloud.ts';
import type { Output } from './output.ts';

/** What a program said may have many lines; the log has them all. */
const oneLine = (text: string): string => {
  const joined = text.replaceAll(/\s+/g, ' ');
  return joined.length > 160 ? `${joined.slice(0, 159)}…` : joined;
};

export interface ReadyCloud extends Pick<RunningCloud, 'hypervisor'> {
  readonly endpoints: { readonly ec2: string; readonly s3: string };
}

export interface ReadyOptions {
  readonly output: Output;
  readonly role: RoleName | undefined;
  readonly ms: number;
}

export function sayReady(settings: Settings, cloud: ReadyCloud, { output, role, ms }: ReadyOptions): void {
  if (role !== undefined) return sayRoleReady(settings, cloud, { output, role, ms });
  const paths = statePaths(settings);
  const { tint } = output;
  const facts: readonly (readonly [string, string])[] = [
    ['EC2', cloud.endpoints.ec2],
    ['S3', cloud.endpoints.s3],
    ['hypervisor', hypervisorText(cloud)],
    ['keys', `${paths.novarc}, ${paths.s3cfg}`],
    ...(settings.tls === 'no' ? [] : [['authority', paths.authority] as const]),
    ['log', paths.log],
  ];
  output.line(`${tint('green', 'novact is ready')} after ${(ms / 1_000).toFixed(1)} s: EC2 at ${cloud.endpoints.ec2} S3 at ${cloud.endpoints.s3}`);
  for (const [name, value] of facts) output.line(`  ${tint('dim', name.padEnd(10))}  ${value}`);
  output.line('Try, in another terminal:');
  for (const command of ['bin/novact try', `. ${paths.novarc} && aws ec2 describe-images`, `s3cmd -c ${paths.s3cfg} mb s3://first`]) {
    output.line(`  ${tint('cyan', command)}`);
  }
  output.line(tint('dim', 'Ctrl-C stops it; guests go on and are adopted by the next start.'));
}

function sayRoleReady(settings: Settings, cloud: ReadyCloud, { output, role, ms }: ReadyOptions & { readonly role: RoleName }): void {
  const { tint } = output;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['host', settings.host],
    ['EC2', role === 'api' ? cloud.endpoints.ec2 : undefined],
    ['S3', role === 'objectstore' ? cloud.endpoints.s3 : undefined],
    ['hypervisor', cloud.hypervisor === undefined ? undefined : hypervisorText(cloud)],
    ['ops', `http://127.0.0.1:${settings.opsPort}/health`],
    ['log', roleLog(settings, role)],
  ];
  output.line(`${tint('green', `novact-${role} is ready`)} after ${(ms / 1_000).toFixed(1)} s`);
  for (const [name, value] of facts) if (value !== undefined) output.line(`  ${tint('dim', name.padEnd(10))}  ${value}`);
}

function hypervisorText({ hypervisor }: ReadyCloud): string {
  if (hypervisor === undefined) return 'none';
  return hypervisor.notice === undefined ? hypervisor.kind : `${hypervisor.kind} (${oneLine(hypervisor.notice)})`;
}
