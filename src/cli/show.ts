// What `status`, `explain`, `doctor` and `config show` print: pure text from what was asked.
import type { ActorRow, Explanation } from '../api/ops/source.ts';
import type { LoadedSettings } from '../config/load.ts';
import { environmentKey, optionNames, optionOf } from '../config/options.ts';
import type { CheckResult } from './host-checks.ts';
import type { ProcessStatus, StatusAnswer } from './ops-client.ts';
import type { Output } from './output.ts';

/** One process: all about it. Several: a line for each, then what any of them knows of the cloud. */
export function showProcesses(processes: readonly ProcessStatus[], output: Output): void {
  const [first, ...others] = processes;
  if (first?.answer !== undefined && others.length === 0) return showStatus(first.answer, output);
  output.table(
    ['ROLE', 'HOST', 'PROCESS', 'STATE', 'SINCE', 'RELEASE', 'OPS', 'HEALTH'],
    processes.map(({ role, pid, opsPort, answer, error }) => [
      role, answer?.host ?? '', pid, answer === undefined ? 'silent' : answer.isReady ? 'ready' : 'starting', answer?.since ?? '',
      answer?.version ?? '', opsPort,
      error ?? healthText(answer?.health ?? []),
    ]),
  );
  const knowing = processes.find(({ answer }) => answer?.hosts !== undefined)?.answer;
  if (knowing !== undefined) showCloud(knowing, output);
}

const healthText = (checks: StatusAnswer['health'] & {}): string =>
  checks.map((check) => (check.ok ? `${check.name} ok` : `${check.name} failing: ${check.detail ?? ''}`)).join(', ');

/** The processes, and the cloud as one of them knows it: of a single process, its own answer with the cloud in it. */
export function statusJson(processes: readonly ProcessStatus[]): unknown {
  const [first, ...others] = processes;
  if (first?.answer !== undefined && others.length === 0) return first.answer;
  const { hosts, instances, images, operations, deadLetters } = processes.find(({ answer }) => answer?.hosts !== undefined)?.answer ?? {};
  return { isReady: processes.every(({ answer }) => answer?.isReady === true), processes, hosts, instances, images, operations, deadLetters };
}

function showStatus(status: StatusAnswer, output: Output): void {
  const { tint } = output;
  const state = status.isReady ? tint('green', 'ready') : tint('yellow', 'starting');
  output.line(`${tint('bold', `novact ${status.version}`)}  ${state}  process ${status.pid} since ${status.since}`);
  const facts = Object.entries({ state: status.state, database: status.database, hypervisor: status.hypervisor, ...status.endpoints });
  for (const [name, value] of facts) if (value !== undefined) output.line(`  ${name.padEnd(10)}  ${value}`);
  for (const check of status.health ?? []) {
    output.line(`  ${check.name.padEnd(10)}  ${check.ok ? tint('green', 'ok') : tint('red', `failing: ${check.detail ?? ''}`)}`);
  }
  showCloud(status, output);
}

function showCloud(status: StatusAnswer, output: Output): void {
  if (status.hosts === undefined) return;
  output.line();
  output.table(
    ['HOST', 'ZONE', 'STATE', 'HYPERVISOR', 'CORES', 'MEMORY MiB', 'DISK GiB'],
    status.hosts.map((host) => [
      host.name, host.zone, host.state === 'up' ? host.state : output.tint('yellow', host.state), host.hypervisor,
      `${host.claimedCores}/${host.cores}`, `${host.claimedMemoryMiB}/${host.memoryMiB}`, `${host.claimedDiskGiB}/${host.diskGiB}`,
    ]),
  );
  output.line();
  const counts = { instances: status.instances, images: status.images, operations: status.operations };
  for (const [name, byState] of Object.entries(counts)) output.line(`  ${name.padEnd(10)}  ${countsText(byState ?? {})}`);
  output.line(`  ${'letters'.padEnd(10)}  ${status.deadLetters ?? 0} dead`);
}

const countsText = (byState: Readonly<Record<string, number>>): string =>
  Object.entries(byState).map(([state, count]) => `${count} ${state}`).join(', ') || 'none';

export function showActors(rows: readonly ActorRow[], output: Output): void {
  const sorted = rows.toSorted((left, right) => (left.path < right.path ? -1 : 1));
  output.table(
    ['ACTOR', 'KIND', 'STATE', 'WAITING', 'HANDLED', 'FAILED', 'RESTARTS', 'BUSY ms'],
    sorted.map((row) => [treeName(row.path), row.kind, row.state, row.depth, row.handled, row.failed, row.restarts, row.busyMs]),
  );
}

/** Indented by depth: the tree is seen in the names. */
function treeName(path: string): string {
  const parts = path.split('/').filter((part) => part !== '');
  return `${'  '.repeat(Math.max(0, parts.length - 1))}${parts.at(-1) ?? path}`;
}

export function showExplanation(explanation: Explanation, output: Output): void {
  const { tint } = output;
  const where = explanation.host === undefined ? '' : ` on ${explanation.host}`;
  output.line(`${tint('bold', explanation.id)}  ${explanation.kind}  ${tint('cyan', explanation.state)} since ${explanation.since}${where}`);
  if (explanation.reason !== undefined) output.line(`  reason: ${explanation.reason}`);
  if (explanation.operations.length === 0) output.line('  it waits for nothing');
  for (const operation of explanation.operations) {
    output.line(`  ${operation.kind} (${operation.id}): ${operation.state}${operation.step === undefined ? '' : `, step ${operation.step}`}`);
    const { owner = 'none yet', since, deadline, attempts } = operation;
    output.line(`    owner ${owner}, since ${since}, until ${deadline} at the latest, tries: ${attempts}`);
    if (operation.error !== undefined) output.line(`    last error: ${tint('red', operation.error)}`);
  }
}

export function showChecks(checks: readonly CheckResult[], output: Output): void {
  const { tint } = output;
  const words = { ok: tint('green', 'ok'), notice: tint('yellow', 'notice'), missing: tint('red', 'missing') };
  output.table(['CHECK', 'STATE', 'WHAT'], checks.map((check) => [check.name, words[check.state], check.detail]));
  const mendable = checks.filter((check) => check.state !== 'ok' && check.remedy !== undefined);
  if (mendable.length > 0) output.line(`\n${tint('bold', 'To mend it:')}`);
  for (const check of mendable) output.line(`  ${check.name.padEnd(20)}  ${tint('cyan', check.remedy ?? '')}`);
}

export interface ShownSetting {
  readonly name: string;
  readonly value: string;
  readonly origin: string;
  readonly text: string;
}

export function settingRows({ settings, origins }: LoadedSettings): readonly ShownSetting[] {
  return optionNames.map((optionName) => ({
    name: environmentKey(optionName),
    value: shownValue(settings[optionName], optionOf(optionName).secret ?? false),
    origin: origins[optionName].place,
    text: optionOf(optionName).text,
  }));
}

/** A URL may carry a password: only its scheme and host are shown. */
export function shownValue(value: unknown, isSecret: boolean): string {
  if (value === undefined) return '';
  const text = String(value);
  if (!isSecret || text.startsWith('pglite:')) return text;
  return URL.canParse(text) ? `${new URL(text).protocol}//…@${new URL(text).host}` : '…';
}
