// The registry of policies: what `NOVACT_SCHEDULER` may name.
import { chance } from './chance.ts';
import type { Policy } from './policy.ts';
import { simple } from './simple.ts';

export const policies: Readonly<Record<'chance' | 'simple', Policy>> = { chance, simple };
