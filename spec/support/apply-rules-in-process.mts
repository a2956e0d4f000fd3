// A process of its own that changes the rules of the network namespace it is given as fast as it can, from one large firewall to another, until it
// is killed. It tells each time.
import { firewallTables } from '../../src/drivers/network/linux/nft.ts';
import { createTablesInForce } from '../../src/drivers/network/linux/tables-in-force.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { largeFirewall } from './firewall-wishes.ts';

const [, , networkNamespace = '', count = ''] = process.argv;
const tables = createTablesInForce({ run: createRun({ log: silentLog, networkNamespace }), log: silentLog });
for (let turn = 0; ; turn = 1 - turn) {
  await tables.ensure(firewallTables(largeFirewall(Number(count), turn), { matchesBridges: false, uplink: undefined }));
  process.send?.(turn);
}
