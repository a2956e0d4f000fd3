import { describe, expect, it } from 'vitest';
import { requireRelease } from '../../../../src/api/ec2/upgrading.ts';
import type { ServiceRecord } from '../../../../src/transport/directory.ts';

const cloudOf = (...versions: readonly string[]) => ({
  directory: {
    services: async (role: ServiceRecord['role']) =>
      versions.map((version, index) => ({ role, host: `h${index + 1}`, process: `p${index}`, epoch: 1, version })),
  },
});

describe('what came with a release', () => {
  it.each([['0.3.0', '0.3.0'], ['0.3.0', '0.10.0'], ['1.0.0', '0.3.1'], ['0.3.0'], []])('is done by that release and later: %s %s', async (...versions) => {
    await expect(requireRelease(cloudOf(...versions), 'compute', '0.3.0')).resolves.toBeUndefined();
  });

  it.each(['0.2.0', '0.2.9', '0.0.3'])('is refused while a host runs %s, which is named', async (version) => {
    await expect(requireRelease(cloudOf('0.3.0', version), 'compute', '0.3.0')).rejects.toMatchObject({
      code: 'UnsupportedOperation', message: expect.stringContaining(`an older one is still on h2 (${version})`),
    });
  });

  it('is not refused for a process that does not tell its release', async () => {
    await expect(requireRelease(cloudOf('', 'spec'), 'compute', '0.3.0')).resolves.toBeUndefined();
  });
});
