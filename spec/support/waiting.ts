// Specs wait for conditions and events, never for a time.

const pending = (): void => undefined;

/** Resolves when the condition holds; rejects when it does not within two seconds. */
export async function until(condition: () => boolean, what = condition.toString()): Promise<void> {
  const endsAt = performance.now() + 2000;
  while (!condition()) {
    if (performance.now() > endsAt) throw new Error(`never: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
  }
}

/** As `until`, for a condition that must be asked for. */
export async function eventually(condition: () => Promise<boolean>, what = condition.toString()): Promise<void> {
  let holds = false;
  const ask = async (): Promise<void> => {
    holds = await condition();
  };
  await ask();
  await until(() => {
    if (!holds) void ask();
    return holds;
  }, what);
}

/** A promise and the means to settle it. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open = pending;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}
