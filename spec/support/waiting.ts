// Specs wait for conditions and events, never for a time.

const pending = (): void => undefined;

/**
 * Far more than anything here takes on a quiet machine: the suite shares two cores with whatever else runs. Less than the 30 s after which
 * sweepers and reconcilers look by themselves: what comes by a message shall not come by them.
 */
const patienceMs = 20_000;
/** A turn counts as no more: where the process or its database stands still, the specs stand still, too. */
const turnMsMax = 100;
/** Before vitest ends the spec without saying what was waited for. */
const inAllMsMax = 50_000;

/** Resolves when the condition holds; rejects when it does not for a long time. */
export async function until(condition: () => boolean, what = condition.toString()): Promise<void> {
  await eventually(async () => condition(), what);
}

/** As `until`, for a condition that must be asked for. */
export async function eventually(condition: () => Promise<boolean>, what = condition.toString()): Promise<void> {
  const startedAt = performance.now();
  let [turnedAt, spentMs] = [startedAt, 0];
  while (!(await condition())) {
    const now = performance.now();
    spentMs += Math.min(now - turnedAt, turnMsMax);
    turnedAt = now;
    if (spentMs > patienceMs || now - startedAt > inAllMsMax) throw new Error(`never: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
  }
}

/** A promise and the means to settle it. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open = pending;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}
