// A listening socket in another network namespace: a process is in one alone, so a short-lived child that was started in the other opens the socket
// and hands it over. The socket stays where it was made, and so do the connections that it accepts.
import { spawn } from 'node:child_process';
import type { Server } from 'node:net';

const timeoutMs = 20_000;

/** Run by the child: nothing of ours is loaded. */
const script = `
const [address, port] = process.argv.slice(1);
const server = require('node:net').createServer();
server.once('error', ({ code, message }) => process.send({ code, message }, () => process.exit(1)));
server.listen({ host: address, port: Number(port) }, () => process.send({ code: '' }, server, () => process.exit(0)));
`;

/** `namespace`: what `nsenter --net` takes. Rejects with an error that has the code of the system's: `EADDRINUSE`, `EADDRNOTAVAIL`. */
export function listenInNamespace(namespace: string, at: { readonly host: string; readonly port: number }): Promise<Server> {
  const child = spawn('nsenter', [`--net=${namespace}`, process.execPath, '-e', script, at.host, String(at.port)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'], timeout: timeoutMs, killSignal: 'SIGKILL',
  });
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-1_000);
    });
    child.once('error', reject);
    child.once('message', (message: { code: string; message?: string }, handle) => {
      if (message.code === '') resolve(handle as Server);
      else reject(Object.assign(new Error(message.message), { code: message.code }));
    });
    child.once('close', (code) => reject(new Error(`no socket was opened in ${namespace}: exit code ${code}: ${said.trim()}`)));
  });
}
