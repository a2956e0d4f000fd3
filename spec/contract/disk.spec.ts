// The disk contract over the fake driver; `spec/host/disk.spec.ts` holds the real one to the same.
import { writeFile } from 'node:fs/promises';
import { createFakeDisk } from '../../src/drivers/disk/fake.ts';
import { diskContract } from '../support/disk-contract.ts';
import { qcow2Header } from '../support/qcow2-image.ts';

diskContract('fake', async () => ({
  driver: createFakeDisk(),
  makeQcow2: (path, sizeBytes) => writeFile(path, qcow2Header({ sizeBytes })),
}));
