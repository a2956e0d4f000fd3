// The parts of nact 7.6.2 that its own types leave out and that nact-repairs.ts builds on. Read in its source; the exact version is pinned.

declare module 'nact/lib/actor.js' {
  import type { NactParent, NactSystem } from 'nact/lib/system.js';

  export class Actor implements NactParent {
    constructor(parent: NactParent, name: string, system: NactSystem, handler: unknown, properties?: object);
    parent: NactParent | undefined;
    readonly name: string;
    readonly reference: object;
    readonly path: { readonly parts: readonly string[] };
    readonly children: Map<string, Actor>;
    stopped: boolean;
    busy: boolean;
    /** A denque. */
    readonly mailbox: {
      readonly length: number;
      shift(): { message: unknown; sender: unknown } | undefined;
      push(entry: { message: unknown; sender: unknown }): number;
      unshift(entry: { message: unknown; sender: unknown }): number;
      toArray(): { message: unknown; sender: unknown }[];
      clear(): void;
    };
    immediate: NodeJS.Immediate | undefined;
    childStopped(child: Actor): void;
    childSpawned(child: Actor): void;
    dispatch(message: unknown, sender?: unknown): void;
    handleMessage(message: unknown, sender: unknown): void;
    processNext(): void;
    handleFault(message: unknown, sender: unknown, error: unknown): unknown;
    reset(): void;
    resume(): void;
    query(message: unknown, timeoutMs: number): Promise<unknown>;
    stop(): void;
  }
}

declare module 'nact/lib/system.js' {
  import type { Actor } from 'nact/lib/actor.js';

  export interface NactParent {
    readonly children: Map<string, Actor>;
    readonly path: { readonly parts: readonly string[] };
    readonly reference: object;
    childStopped(child: Actor): void;
    childSpawned(child: Actor): void;
  }

  export interface NactSystem extends NactParent {
    readonly name: string;
    readonly tempReferences: Map<number, { resolve(value: unknown): void }>;
    addTempReference(reference: { id: number }, deferral: { resolve(value: unknown): void }): void;
    removeTempReference(reference: { id: number }): void;
    handleFault(message: unknown, sender: unknown, error: unknown, child: unknown): void;
    stop(): void;
  }

  export function start(properties: { name: string }): object;
}

declare module 'nact/lib/system-map.js' {
  import type { NactSystem } from 'nact/lib/system.js';
  export function find(name: string): NactSystem | undefined;
  export function remove(name: string): void;
}

declare module 'nact/lib/references.js' {
  export class TemporaryReference {
    constructor(systemName: string);
    id: number;
  }
}
