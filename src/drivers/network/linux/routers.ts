// The routers of a host: their namespaces, their legs in networks, and the rules inside. Rules are applied when they change, and again when a
// namespace had to be made anew or somebody else has changed them.
import { createHash } from 'node:crypto';
import { groupBy } from '../../../lib/group-by.ts';
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';
import type { FirewallSpec, NetworkSpec, RouterSpec } from '../driver.ts';
import { endConnections, floatingInForce } from './floating.ts';
import type { Namespaces } from './namespace.ts';
import { tableName } from './nft.ts';
import { renderRouter } from './nft-router.ts';
import { ensureLeg, ensureRouter, removeLeg } from './router.ts';
import { ensureSegment } from './segment.ts';

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
  readonly text: string;
  /** Which guest each floating address leads to. */
  readonly floating: ReadonlyMap<string, string>;
  /** What nft printed of them once they were in force; undefined: they are not yet. */
  live?: string | undefined;
}

export function createRouters({ run, namespaces, log }: { readonly run: Run; readonly namespaces: Namespaces; readonly log: Log }): Routers {
  const rules = new Map<string, Rules>();
  const inTransit = createTurn();
  const place = { host: run, namespaces };

  async function live({ namespace }: RouterSpec): Promise<string | undefined> {
    const { code, stdout } = await namespaces.inside(namespace)('nft', ['-s', 'list', 'table', 'inet', tableName], { okCodes: [0, 1] });
    return code === 0 ? createHash('sha256').update(stdout).digest('hex') : undefined;
  }

  async function applyRules(router: RouterSpec): Promise<void> {
    const wanted = rules.get(router.namespace);
    if (wanted === undefined) return;
    await namespaces.ensure(router.namespace);
    const inside = namespaces.inside(router.namespace);
    const before = await floatingInForce(inside, tableName);
    await inside('nft', ['-f', '-'], { input: wanted.text });
    await endConnections(inside, log, { before, now: wanted.floating });
    wanted.live = await live(router);
  }

  return {
    applyRules,
    async ensureLeg(network, router) {
      await ensureSegment(run, network);
      const { created } = await inTransit(() => ensureRouter(place, router));
      const wanted = rules.get(router.namespace);
      if (wanted?.live !== undefined && wanted.live !== (await live(router))) {
        if (!created) log.warn({ router: router.id }, 'the rules of a router were changed by somebody else; putting them back');
        await applyRules(router);
      }
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
        const text = renderRouter({ networks: ofRouter, metadataPort, floating: led }, tableName);
        const known = rules.get(namespace);
        if (known?.text === text && known.live !== undefined) return [];
        rules.set(namespace, { text, floating: new Map(led.map(({ address, fixed }) => [address, fixed])) });
        return ofRouter[0]?.router ?? [];
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
