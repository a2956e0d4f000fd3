// The `novact` command straight from src, for runs in which dist is older than the source; with NOVACT_SPEC_ROLE the launcher of that role.
import { roleNames } from '../../src/config/options.ts';
import { main } from '../../src/cli/main.ts';

await main(process.argv, roleNames.find((role) => role === process.env['NOVACT_SPEC_ROLE']));
