// One address for several servers: each connection goes to the next server that answers, so that one may die and clients go on.
//   node tcp-balancer.mjs LISTEN-HOST:PORT SERVER-HOST:PORT…
// Written without types, because it runs as a process of its own, in a network namespace.
import { connect, createServer } from 'node:net';
import process from 'node:process';

const [listen = '', ...servers] = process.argv.slice(2);
const parse = (text) => ({ host: text.slice(0, text.lastIndexOf(':')), port: Number(text.slice(text.lastIndexOf(':') + 1)) });
const connectMsMax = 1_000;
let next = 0;

function forward(client, triesLeft) {
  if (triesLeft === 0) return client.destroy();
  const server = connect(parse(servers[next++ % servers.length]));
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
    else forward(client, triesLeft - 1);
  });
  client.once('close', () => server.destroy());
}

createServer((client) => {
  client.on('error', () => undefined);
  forward(client, servers.length);
}).listen(parse(listen), () => process.stdout.write('ready\n'));
