// What the ops server (and so `novact status` and `novact explain`) can ask a running process. The composition root fills it in.
import type { Registry } from 'prom-client';
import type { PerformManage } from './perform-manage.ts';

/** One row of the printed actor tree, as the runtime gives it. */
export interface ActorRow {
  readonly path: string;
  readonly kind: string;
  readonly state: string;
  readonly depth: number;
  readonly restarts: number;
  readonly handled: number;
  readonly failed: number;
  readonly busyMs: number;
}

export interface HealthCheck {
  readonly name: string;
  readonly ok: boolean;
  /** In words, when there is something to say. */
  readonly detail?: string;
}

export interface HostRow {
  readonly name: string;
  readonly zone: string;
  readonly state: 'up' | 'down' | 'disabled';
  readonly hypervisor: string;
  readonly cores: number;
  readonly claimedCores: number;
  readonly memoryMiB: number;
  readonly claimedMemoryMiB: number;
  readonly diskGiB: number;
  readonly claimedDiskGiB: number;
}

/** What `novact status` shows beside endpoints and health. */
export interface CloudStatus {
  readonly hosts: readonly HostRow[];
  /** Count by state: `{ running: 2, stopped: 1 }`. */
  readonly instances: Readonly<Record<string, number>>;
  readonly images: Readonly<Record<string, number>>;
  readonly operations: Readonly<Record<string, number>>;
  readonly deadLetters: number;
}

/** One operation on a resource, unfinished or the last finished one. Times are ISO 8601. */
export interface ExplainedOperation {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  /** The step in hand, or the last one. */
  readonly step: string | undefined;
  readonly owner: string | undefined;
  readonly attempts: number;
  readonly error: string | undefined;
  readonly since: string;
  readonly deadline: string;
}

/** What a resource waits for, since when, who owns the step, and the last error. */
export interface Explanation {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly since: string;
  readonly host: string | undefined;
  readonly reason: string | undefined;
  readonly operations: readonly ExplainedOperation[];
}

export interface OpsSource {
  readonly registry: Registry;
  health(): Promise<readonly HealthCheck[]>;
  status(): Promise<CloudStatus>;
  actors(): readonly ActorRow[];
  /** Undefined: no such resource. */
  explain(id: string): Promise<Explanation | undefined>;
  /** Performs a command of `novact manage`. */
  readonly manage: PerformManage;
}
