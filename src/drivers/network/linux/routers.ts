// The routers of a host: their namespaces, their legs in networks, and the rules inside. Rules are applied when they change, and again when a
// namespace had to be made anew or somebody else has changed them.
import { groupBy } from '../../../lib/group-by.ts';
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';
import type { FirewallSpec, NetworkSpec, RouterSpec } from '../driver.ts';
import { endConnections, floatingInForce } from './floating.ts';
import type { Namespaces } from './namespace.ts';
import { tableName } from './nft.ts';
import { routerTable } from './nft-router.ts';
import { ensureLeg, ensureRouter, removeLeg } from './router.ts';
import { renderDifference, type Table } from './ruleset.ts';
import { ensureSegment } from './segment.ts';
import { createTablesInForce, type TablesInForce } from './tables-in-force.ts';

export interface Routers {
  /** After: bridge, segment and router of the network are joined. Returns whether who listens on the leg has to start again. */
  ensureLeg(network: NetworkSpec, router: RouterSpec): Promise<boolean>;
  removeLeg(network: NetworkSpec, router: RouterSpec): Promise<void>;
  /** Takes note of the wish, and returns the routers whose rules differ by it. */
  changed(wanted: FirewallSpec): readonly RouterSpec[];
  /** The namespace is made if there is none: a router without rules would lead anything anywhere. */
  applyRules(router: RouterSpec): Promise<void>;
}

interface Rules {
  wanted: Table;
  /** Which guest each floating address is to lead to. */
  floating: ReadonlyMap<string, string>;
  readonly inForce: TablesInForce;
  applied?: Table;
  /** As `floating`, by the rules that were applied. */
  leading: ReadonlyMap<string, string>;
}

export function createRouters({ run, namespaces, log }: { readonly run: Run; readonly namespaces: Namespaces; readonly log: Log }): Routers {
  const rules = new Map<string, Rules>();
  const inTransit = createTurn();
  const place = { host: run, namespaces };

  async function applyRules(router: RouterSpec): Promise<void> {
    const of = rules.get(router.namespace);
    if (of === undefined) return;
    const { created } = await namespaces.ensure(router.namespace);
    if (created) of.inForce.forget();
    const inside = namespaces.inside(router.namespace);
    const { wanted, floating } = of;
    await of.inForce.ensure([wanted], async () => {
      of.leading = await floatingInForce(inside, tableName);
    });
    of.applied = wanted;
    await endConnections(inside, log, { before: of.leading, now: floating });
    of.leading = floating;
  }

  const newRules = (namespace: string, wanted: Table): Rules => ({
    wanted, floating: new Map(), leading: new Map(), inForce: createTablesInForce({ run: namespaces.inside(namespace), log: log.child({ namespace }) }),
  });

  return {
    applyRules,
    async ensureLeg(network, router) {
      await ensureSegment(run, network);
      const { created } = await inTransit(() => ensureRouter(place, router));
      const of = rules.get(router.namespace);
      if (created) of?.inForce.forget();
      if (of?.applied !== undefined) await applyRules(router);
      return (await ensureLeg(place, network, router)).created || created;
    },
    async removeLeg(network, router) {
      await removeLeg(place, network, router);
    },
    changed({ networks, metadataPort, floating = [] }) {
      const wanted = groupBy(networks.filter((network) => network.router !== undefined), (network) => network.router?.namespace ?? '');
      for (const namespace of [...rules.keys()].filter((known) => !wanted.has(known))) rules.delete(namespace);
      return [...wanted].flatMap(([namespace, ofRouter]) => {
        const led = floating.filter(({ bridge }) => ofRouter.some((network) => network.bridge === bridge));
        const wish = routerTable({ networks: ofRouter, metadataPort, floating: led }, tableName);
        const known = rules.get(namespace) ?? newRules(namespace, wish);
        rules.set(namespace, known);
        known.wanted = wish;
        known.floating = new Map(led.map(({ address, fixed }) => [address, fixed]));
        const isInForce = known.applied !== undefined && renderDifference([known.applied], [wish]) === '';
        return isInForce ? [] : (ofRouter[0]?.router ?? []);
      });
    },
  };
}

/** Two routers must not find the same free addresses for their links. */
function createTurn(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const turn = last.then(work, work);
    last = turn;
    return turn;
  };
}
