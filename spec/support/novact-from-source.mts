// The `novact` command straight from src, for runs in which dist is older than the source.
import { main } from '../../src/cli/main.ts';

await main(process.argv);
