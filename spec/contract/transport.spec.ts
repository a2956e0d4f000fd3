// The transport contract over every transport there is.
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createLocalMedium, createLocalTransport } from '../../src/transport/local.ts';
import type { Transport } from '../../src/transport/transport.ts';
import { transportSuite, type Cloud } from './transport-suite.ts';

transportSuite('local', async (): Promise<Cloud> => {
  const medium = createLocalMedium({ clock: systemClock, log: silentLog, maxima: { retryFirstDelayMs: 2, retryDelayMsMax: 10 } });
  const transports: Transport[] = [];
  return {
    process: async (process) => {
      const transport = createLocalTransport({ medium, clock: systemClock, log: silentLog, process });
      transports.push(transport);
      return transport;
    },
    kill: async (process) => medium.kill(process),
    close: async () => {
      await Promise.all(transports.map((transport) => transport.close()));
    },
  };
});
