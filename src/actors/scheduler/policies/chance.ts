// Any host that is up, as good as another (Nova's default).
import type { Policy } from './policy.ts';

export const chance: Policy = {
  reads: 'lot',
  order(hosts, random) {
    const shuffled = [...hosts];
    for (let last = shuffled.length - 1; last > 0; last -= 1) {
      const other = Math.floor(random() * (last + 1));
      const [a, b] = [shuffled[last], shuffled[other]];
      if (a !== undefined && b !== undefined) [shuffled[last], shuffled[other]] = [b, a];
    }
    return shuffled;
  },
};
