// The firewall of a host: its own rules, those of its routers, and the floating addresses that it answers by, in the order in which nothing is open, and
// no address answers, before it should. Addresses on links cost a look at the host each: they are seen to when the wish says something new of them, and
// whenever it says nothing new at all.
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';
import type { FirewallSpec, FloatingAddress } from '../driver.ts';
import { endConnections, floatingChange, floatingInForce } from './floating.ts';
import { ledByRouters, routedFloatingChange } from './floating-routed.ts';
import { firewallTables, noTables, tableName } from './nft.ts';
import type { Routers } from './routers.ts';
import { renderRemoval } from './ruleset.ts';
import { createTablesInForce } from './tables-in-force.ts';
import { foreignDropNotices, matchesBridges } from './uplink.ts';

/** Runs what is given under one key one after another. */
export type InTurn = <T>(key: string, work: () => Promise<T>) => Promise<T>;

export interface Firewall {
  apply(wanted: FirewallSpec): Promise<void>;
  /** Those that waited for the link of their router. */
  arriveByRouters(): Promise<void>;
  /** This host answers by no floating address of novact's any more. */
  leaveAddresses(): Promise<void>;
  removeRules(): Promise<void>;
}

interface Around {
  readonly run: Run;
  readonly log: Log;
  readonly uplink?: string | undefined;
  readonly routers: Routers;
  readonly inTurn: InTurn;
}

export function createFirewall({ run, log, uplink, routers, inTurn }: Around): Firewall {
  const outside = { run, log, uplink };
  const rules = createHostRules(outside);
  let led: ReturnType<typeof ledByRouters> = [];
  /** The wish by which addresses were last seen to. */
  let answering: string | undefined;

  async function arriveByRouters(): Promise<void> {
    if (led.length > 0) await inTurn('led ', async () => (await routedFloatingChange(outside, led)).arrive());
  }

  return {
    arriveByRouters,
    async apply(wanted) {
      led = ledByRouters(wanted);
      const [own, wish] = [ofHost(wanted), JSON.stringify([led, wanted.floating ?? []])];
      const isNew = answering !== wish;
      answering = undefined;
      const isChange = !isNew && (await rules.apply({ ...wanted, floating: own }));
      if (!isChange) {
        const onLinks = await floatingChange(outside, own.map(({ address }) => address));
        await (await routedFloatingChange(outside, led)).leave();
        await onLinks.leave();
        if (isNew) await rules.apply({ ...wanted, floating: own });
        await onLinks.arrive();
      }
      for (const router of routers.changed(wanted)) await inTurn(router.namespace, () => routers.applyRules(router));
      if (!isChange) await arriveByRouters();
      answering = wish;
    },
    async leaveAddresses() {
      [led, answering] = [[], undefined];
      await (await routedFloatingChange(outside, [])).leave();
      await (await floatingChange(outside, [])).leave();
    },
    removeRules: rules.remove,
  };
}

/** Floating addresses of guests behind a router are not the host's own. */
function ofHost({ networks, floating = [] }: FirewallSpec): readonly FloatingAddress[] {
  const routed = new Set(networks.flatMap(({ bridge, router }) => (router === undefined ? [] : [bridge])));
  return floating.filter(({ bridge }) => !routed.has(bridge));
}

function createHostRules({ run, log, uplink }: Pick<Around, 'run' | 'log' | 'uplink'>) {
  const tables = createTablesInForce({ run, log });
  let canMatchBridges: boolean | undefined;
  /** Which guest each floating address leads to by the rules in force. */
  let leading: ReadonlyMap<string, string> = new Map();
  return {
    /** Returns whether something had to be done. */
    async apply(wanted: FirewallSpec): Promise<boolean> {
      if (canMatchBridges === undefined) {
        canMatchBridges = await matchesBridges(run);
        for (const notice of await foreignDropNotices(run)) log.warn({}, notice);
      }
      const floating = new Map((wanted.floating ?? []).map(({ address, fixed }) => [address, fixed]));
      const isChange = await tables.ensure(firewallTables(wanted, { matchesBridges: canMatchBridges, uplink }), async () => {
        leading = await floatingInForce(run, tableName);
      });
      await endConnections(run, log, { before: leading, now: floating });
      leading = floating;
      if (isChange) log.info({ ports: wanted.ports.length, networks: wanted.networks.length, floating: floating.size }, 'firewall applied');
      return isChange;
    },
    async remove(): Promise<void> {
      tables.forget();
      await run('nft', ['-f', '-'], { input: renderRemoval(noTables) });
    },
  };
}
