// The server below EC2 and S3 with TLS: who is answered and how, what it proves itself by, and that it can be ended.
import { once } from 'node:events';
import { request as requestPlain, type IncomingMessage, type Server } from 'node:http';
import { Agent, request as requestSecure } from 'node:https';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { connect as connectSecure, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { createWebServer, isSecure, plainRefusal, type Identity, type Tls } from '../../../../src/api/http/web-server.ts';
import type { KeyAndCertificate } from '../../../../src/drivers/certificates/driver.ts';
import { createOpensslCertificates } from '../../../../src/drivers/certificates/openssl.ts';
import { systemClock } from '../../../../src/lib/clock.ts';
import { createRun } from '../../../../src/lib/exec.ts';
import { silentLog } from '../../../../src/lib/log.ts';

const certificates = createOpensslCertificates({ run: createRun({ log: silentLog }) });
let root: KeyAndCertificate;
let issuer: KeyAndCertificate;
let identity: Identity;
const servers: Server[] = [];

async function issue(): Promise<Identity> {
  const hosts = ['localhost', '127.0.0.1', '*.s3.localhost'];
  const { key, certificate } = await certificates.issue({ name: 'spec', days: 2, usage: 'server', issuer, hosts });
  return { key, certificate: certificate + issuer.certificate };
}

beforeAll(async () => {
  root = await certificates.createAuthority({ name: 'root', days: 2 });
  issuer = await certificates.createAuthority({ name: 'endpoints', days: 2, issuer: root });
  identity = await issue();
});
afterEach(() => servers.splice(0).forEach((server) => server.listening && server.closeAllConnections()));

async function start(plain: Tls['plain'], listeners: ((identity: Identity) => void)[] = []): Promise<{ server: Server; port: number }> {
  const tls: Tls = { plain, identity: () => identity, onRenewed: (listener) => void listeners.push(listener) };
  const server = createWebServer({ http: {}, tls, clock: systemClock }, (request, response) => {
    const refusal = plainRefusal(request, tls);
    void text(request).then((body) => response.end(refusal ?? `${isSecure(request) ? 'secure' : 'plain'} ${body.length}`));
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

async function ask(url: string, body = '', more: object = {}): Promise<string> {
  const [response] = (await new Promise<[IncomingMessage]>((resolve, reject) => {
    const send = url.startsWith('https:') ? requestSecure : requestPlain;
    send(url, { method: 'POST', agent: false, ca: root.certificate, ...more }, (answer) => resolve([answer])).once('error', reject).end(body);
  }));
  return text(response);
}

/** Reset or ended. */
const goneOf = (socket: Socket) => new Promise<void>((resolve) => void socket.on('error', () => undefined).once('close', () => resolve()));

it('A10: whoever knows the authority believes the server by each of its names, and by no other', async () => {
  const { port } = await start('refused');
  expect(await ask(`https://127.0.0.1:${port}/`, 'four')).toBe('secure 4');
  expect(await ask(`https://localhost:${port}/`)).toBe('secure 0');
  const via = { lookup: (_: string, __: object, found: (error: null, list: object[]) => void) => found(null, [{ address: '127.0.0.1', family: 4 }]) };
  expect(await ask(`https://bucket.s3.localhost:${port}/`, '', via)).toBe('secure 0');
  await expect(ask(`https://other.example:${port}/`, '', via)).rejects.toThrow('does not match certificate');
  const unknown = /self.signed certificate in certificate chain|unable to get local issuer/;
  await expect(ask(`https://127.0.0.1:${port}/`, '', { ca: undefined })).rejects.toThrow(unknown);
});

it('speaks TLS 1.2 and 1.3, and nothing older', async () => {
  const { port } = await start('refused');
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) expect(await ask(`https://127.0.0.1:${port}/`, '', { maxVersion })).toBe('secure 0');
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
  await expect(ask(`https://127.0.0.1:${port}/`, '', old)).rejects.toThrow(/alert protocol version|unsupported protocol/);
});

it('answers those who speak plain HTTP there: with a refusal, or as if it were theirs', async () => {
  const large = 'x'.repeat(300_000);
  expect(await ask(`http://127.0.0.1:${(await start('refused')).port}/`, large)).toBe('This endpoint speaks TLS only: its URL begins with https.');
  const { port } = await start('served');
  expect(await ask(`http://127.0.0.1:${port}/`, large)).toBe('plain 300000');
  expect(await ask(`https://127.0.0.1:${port}/`, large)).toBe('secure 300000');
});

it('shows a new certificate to new connections; those that there are go on', async () => {
  const listeners: ((identity: Identity) => void)[] = [];
  const { port } = await start('refused', listeners);
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: root.certificate });
  expect(await ask(`https://127.0.0.1:${port}/`, '', { agent })).toBe('secure 0');
  const serialOf = async () => {
    const socket: TLSSocket = connectSecure({ port, host: '127.0.0.1', ca: root.certificate });
    await once(socket, 'secureConnect');
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  };
  const before = await serialOf();
  for (const listener of listeners) listener(await issue());
  expect(await serialOf()).not.toBe(before);
  expect(await ask(`https://127.0.0.1:${port}/`, '', { agent })).toBe('secure 0');
  agent.destroy();
});

it('ends although somebody is connected who says nothing, or never ends a handshake', async () => {
  const { server, port } = await start('refused');
  const silent = connect(port, '127.0.0.1');
  const slow = connect(port, '127.0.0.1');
  await Promise.all([once(silent, 'connect'), once(slow, 'connect')]);
  slow.write(Buffer.from([0x16, 0x03, 0x01]));
  await new Promise((resolve) => void setImmediate(() => void setImmediate(resolve)));
  const closed = once(server, 'close');
  const gone = [silent, slow].map(goneOf);
  server.close();
  server.closeAllConnections();
  await Promise.all([closed, ...gone]);
});

it('is not ended by what is no TLS and no HTTP', async () => {
  const { port } = await start('refused');
  for (const bytes of [Buffer.from([0x16, 0x03, 0x01, 0x00, 0x01, 0xff]), Buffer.from([0, 1, 2, 3]), Buffer.from('GET')]) {
    const socket = connect(port, '127.0.0.1').resume();
    socket.end(bytes);
    await goneOf(socket);
  }
  expect(await ask(`https://127.0.0.1:${port}/`)).toBe('secure 0');
});
