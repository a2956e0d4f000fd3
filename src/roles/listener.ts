// An HTTP server as an actor: it listens when the actor starts, and again after a restart; a stop lets requests in hand finish.
import type { ActorDefinition, ActorSystem } from '../actors/runtime/actor.ts';

export interface HttpServer {
  listen(host: string, port: number): Promise<unknown>;
  close(): Promise<void>;
}

export interface Listener {
  readonly server: HttpServer;
  readonly host: string;
  readonly port: number;
}

/** Resolves when the server listens; rejects with why it does not. */
export function startListener(system: ActorSystem, name: string, listener: Listener): Promise<void> {
  return new Promise((resolve, reject) => {
    system.spawn(defineListener((error) => (error === undefined ? resolve() : reject(error))), name, listener);
  });
}

function defineListener(onListening: (error?: unknown) => void): ActorDefinition<Listener, never, Listener> {
  return {
    kind: 'listener',
    async init(_context, listener) {
      try {
        await listener.server.listen(listener.host, listener.port);
      } catch (error) {
        onListening(error);
        throw error;
      }
      onListening();
      return listener;
    },
    handle: () => undefined,
    onStop: (listener) => listener.server.close(),
  };
}
