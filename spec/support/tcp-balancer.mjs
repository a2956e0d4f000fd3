// One address for several servers: each connection goes to the next server that answers, so that one may die and clients go on.
//   node tcp-balancer.mjs LISTEN-HOST:PORT SERVER-HOST:PORT…
// Written without types, because it runs as a process of its own, in a network namespace.
import { connect, createServer } from 'node:net';
import process from 'node:process';

const [listen = '', ...servers] = process.argv.slice(2);
const parse = (text) => ({ host: text.slice(0, text.lastIndexOf(':')), port: Number(text.slice(text.lastIndexOf(':') + 1)) });
const connectMsMax = 1_000;
let next = 0;

/** Each server is tried once: who came in between must not send a second try to the server of the first. */
function forward(client, [first, ...others]) {
  if (first === undefined) return client.destroy();
  const server = connect(parse(first));
  let connected = false;
  const timer = setTimeout(() => server.destroy(new Error('no answer')), connectMsMax);
  server.once('connect', () => {
    clearTimeout(timer);
    connected = true;
    client.pipe(server).pipe(client);
  });
  server.on('error', () => undefined);
  server.once('close', () => {
    clearTimeout(timer);
    if (connected) client.destroy();
    else forward(client, others);
  });
  client.once('close', () => server.destroy());
}

createServer((client) => {
  client.on('error', () => undefined);
  next = (next + 1) % servers.length;
  forward(client, [...servers.slice(next), ...servers.slice(0, next)]);
}).listen(parse(listen), () => process.stdout.write('ready\n'));
