// Specs wait for conditions and events, never for a time.

const pending = (): void => undefined;

/** Far more than anything here takes on a quiet machine: the suite shares two cores with whatever else runs. */
const patienceMs = 15_000;

/** Resolves when the condition holds; rejects when it does not for a long time. */
export async function until(condition: () => boolean, what = condition.toString()): Promise<void> {
  const endsAt = performance.now() + patienceMs;
  while (!condition()) {
    if (performance.now() > endsAt) throw new Error(`never: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
  }
}

/** As `until`, for a condition that must be asked for. */
export async function eventually(condition: () => Promise<boolean>, what = condition.toString()): Promise<void> {
  const endsAt = performance.now() + patienceMs;
  while (!(await condition())) {
    if (performance.now() > endsAt) throw new Error(`never: ${what}`);
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
