// The order of spec files. Without a record of earlier runs vitest begins with the largest, and the simulations, the longest of their project by far and
// small files, came last: one core computed while the other had nothing to do.
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const slowest = /\/spec\/simulation\//;

export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- it is no array's
    const sorted = await super.sort(files);
    const projects = new Set(sorted.map(({ project }) => project.name));
    return [...projects].flatMap((name) => {
      const own = sorted.filter(({ project }) => project.name === name);
      return [...own.filter(({ moduleId }) => slowest.test(moduleId)), ...own.filter(({ moduleId }) => !slowest.test(moduleId))];
    });
  }
}
