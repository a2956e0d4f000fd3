// One figure of a benchmark, beside what it is compared with and what it ought to be. Figures of one machine mean little by themselves;
// the ratio to a baseline of the same minute does.

export interface BenchRow {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What the value is compared with. */
  readonly baseline?: string;
  /** Of the value to the baseline's. */
  readonly ratio?: number;
  readonly target?: Target;
}

export interface Target {
  /** `≤ 1.15 ×`. */
  readonly text: string;
  readonly met: boolean;
}

export const atMost = (value: number, max: number, unit: string): Target => ({ text: `≤ ${max} ${unit}`, met: value <= max });

export const atLeast = (value: number, min: number, unit: string): Target => ({ text: `≥ ${min} ${unit}`, met: value >= min });

/** The lower one of the two in the middle. */
export const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? Number.NaN;
