// Starts the scheduler of this process: it takes messages from the mailbox that all schedulers share.
import { auditRotator } from '../actors/audit/rotate.ts';
import { sweepIntervalMs } from '../actors/operations/sweep-work.ts';
import { schedulerActor, schedulerHandlers } from '../actors/scheduler/actor.ts';
import { policies } from '../actors/scheduler/policies/index.ts';
import { schedulerProtocol } from '../messages/scheduler.ts';
import { announceShared, keep, type Foundation } from './foundation.ts';
import { overcommitOf } from './overcommit.ts';

const placementsMax = 3;
const rotationIntervalMs = 600_000;

export async function startScheduler(foundation: Foundation): Promise<void> {
  const { settings, system, transport, directory, relay, db, clock, log } = foundation;
  const ref = system.spawn(schedulerActor, 'scheduler', {
    system,
    serviceDownMs: settings.serviceDownSeconds * 1_000,
    sweepIntervalMs: sweepIntervalMs.shared,
    deps: {
      db, directory, relay, clock, placementsMax,
      log: log.child({ role: 'scheduler' }),
      policy: policies[settings.scheduler],
      overcommit: overcommitOf(settings),
      random: Math.random,
    },
  });
  system.spawn(auditRotator, 'audit-rotation', {
    db, clock, log, intervalMs: rotationIntervalMs, days: settings.auditDays, rowsMax: settings.auditRowsMax, objectRowsMax: settings.auditObjectRowsMax,
  });
  await keep(foundation, transport.serve({ role: 'scheduler' }, schedulerProtocol, schedulerHandlers(system, ref)));
  await announceShared(foundation, 'scheduler');
}
