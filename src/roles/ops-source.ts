// What the ops server shows of this process: health, counts, the actor tree, the story of a resource, and metrics.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ObservedRequest } from '../api/http/app.ts';
import { recordManage } from '../api/audit/manage-changes.ts';
import { createManage } from '../api/ops/perform-manage.ts';
import type { CloudStatus, Explanation, HealthCheck, OpsSource } from '../api/ops/source.ts';
import { hostStateOf, listHosts, readSetting } from '../db/hosts.ts';
import type { Operation } from '../db/operations.ts';
import { overview, storyOf } from '../db/overview.ts';
import type { HypervisorDriver } from '../drivers/hypervisor/driver.ts';
import { messageOf } from '../lib/errors.ts';
import type { Foundation } from './foundation.ts';
import { manageCommands } from './manage/index.ts';

const checkTimeoutMs = 5_000;

export interface Metrics {
  readonly registry: Registry;
  observe(request: ObservedRequest): void;
}

export function createMetrics({ system, transport, audit }: Foundation): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'novact_' });
  const requests = new Counter({
    name: 'novact_api_requests_total', help: 'EC2 and STS requests by action and error code.', labelNames: ['action', 'code'], registers: [registry],
  });
  const seconds = new Histogram({
    name: 'novact_api_request_seconds', help: 'Time to answer.', buckets: [0.005, 0.02, 0.1, 0.5, 2, 10], registers: [registry],
  });
  new Gauge({
    name: 'novact_actors', help: 'Actors by kind.', labelNames: ['kind'], registers: [registry],
    collect() {
      this.reset();
      for (const { kind } of system.tree()) this.inc({ kind });
    },
  });
  new Gauge({ name: 'novact_dead_letters', help: 'Messages that nobody took.', registers: [registry], collect() { this.set(system.deadLetterCount()); } });
  new Gauge({
    name: 'novact_mailbox_waiting', help: 'Messages waiting in a mailbox.', labelNames: ['mailbox'], registers: [registry],
    async collect() {
      for (const { mailbox, waiting } of await transport.depths()) this.set({ mailbox }, waiting);
    },
  });
  new Gauge({
    name: 'novact_audit_waiting', help: 'Records that are not in the audit log yet.', registers: [registry], collect() { this.set(audit.figures().waiting); },
  });
  new Counter({
    name: 'novact_audit_records_total', help: 'Records of the audit log, written or lost, and why.', labelNames: ['outcome'], registers: [registry],
    collect() {
      this.reset();
      const { written, lost } = audit.figures();
      for (const [outcome, count] of Object.entries({ written, ...lost })) this.inc({ outcome }, count);
    },
  });
  return {
    registry,
    observe({ action, code, durationMs }) {
      requests.inc({ action: action ?? 'unknown', code: code ?? 'ok' });
      seconds.observe(durationMs / 1_000);
    },
  };
}

export function createOpsSource(foundation: Foundation, metrics: Metrics, hypervisor: HypervisorDriver | undefined): OpsSource {
  const { db, system, transport, directory, settings, cloudId } = foundation;
  return {
    registry: metrics.registry,
    health: () => Promise.all([
      check(foundation, 'database', async () => void (await readSetting(db, 'cloudId'))),
      ...(settings.redisUrl === undefined ? [] : [
        check(foundation, 'mailboxes', async () => void (await transport.depths())),
        check(foundation, 'directory', async () => void (await directory.lastSeen('scheduler'))),
      ]),
      ...(hypervisor === undefined ? [] : [check(foundation, 'hypervisor', async () => void (await hypervisor.list(cloudId)))]),
    ]),
    async status(): Promise<CloudStatus> {
      const [hosts, counts, letters] = await Promise.all([listHosts(db), overview(db), transport.deadLetters()]);
      return { hosts: hosts.map((host) => ({ ...host, state: hostStateOf(host) })), ...counts, deadLetters: letters.length + system.deadLetterCount() };
    },
    actors: () => system.tree(),
    explain: (id) => explain(foundation, id),
    manage: recordManage(createManage(manageCommands, foundation), { trail: foundation.audit, clock: foundation.clock, host: settings.host }),
  };
}

/** A part that hangs is not well either. */
async function check({ clock }: Pick<Foundation, 'clock'>, name: string, work: () => Promise<void>): Promise<HealthCheck> {
  const timedOut = new AbortController();
  const late = clock.sleep(checkTimeoutMs, timedOut.signal).then(() => { throw new Error(`no answer for ${checkTimeoutMs / 1_000} s`); });
  try {
    await Promise.race([work(), late]);
    return { name, ok: true };
  } catch (error) {
    return { name, ok: false, detail: messageOf(error) };
  } finally {
    late.catch(() => undefined);
    timedOut.abort();
  }
}

async function explain({ db }: Foundation, id: string): Promise<Explanation | undefined> {
  const story = await storyOf(db, id);
  if (story === undefined) return undefined;
  return { ...story, since: story.since.toISOString(), operations: story.operations.map(explainOperation) };
}

function explainOperation(operation: Operation): Explanation['operations'][number] {
  return {
    id: operation.id,
    kind: operation.kind,
    state: operation.state,
    step: (operation.steps.find((step) => step.state === 'doing') ?? operation.steps.at(-1))?.name,
    owner: operation.owner ?? undefined,
    attempts: operation.attempts,
    error: operation.error ?? undefined,
    since: operation.updatedAt.toISOString(),
    deadline: operation.deadline.toISOString(),
  };
}
