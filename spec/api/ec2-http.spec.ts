// The EC2 server as seen from the wire: paths, limits, log and close. Signatures are left aside.
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { action, type Services } from '../../src/api/ec2/action.ts';
import { createDispatcher } from '../../src/api/ec2/dispatch.ts';
import { acceptWaiting, createEc2Server, type Ec2Server, type Ec2ServerOptions } from '../../src/api/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { SetupError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';

const servers: Ec2Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close(500)));
});

interface Started {
  readonly url: string;
  readonly port: number;
  readonly server: Ec2Server;
  readonly logLines: Record<string, unknown>[];
  /** Resolves when a request has reached the handler. */
  readonly entered: Promise<void>;
  /** Lets handlers that wait answer. */
  release(): void;
}

async function start(options: Partial<Ec2ServerOptions> & { holds?: boolean } = {}): Promise<Started> {
  const { holds = false, ...serverOptions } = options;
  const entered = deferred();
  const gate = deferred();
  if (!holds) gate.resolve();
  const handle = async () => {
    entered.resolve();
    await gate.promise;
    return { Regions: [] };
  };
  const dispatcher = createDispatcher({
    actions: [action({ name: 'DescribeRegions', doc: '', roles: 'anyMember', errors: [], handle })],
    services: { clock: systemClock, log: silentLog } as unknown as Services,
    authenticate: async () => ({
      userId: 'u', userName: 'ann', accessKeyId: 'k', projectId: 'p', projectName: 'ann', isSuperuser: true, isAdmin: true, roles: new Set(),
    }),
  });
  const logLines: Record<string, unknown>[] = [];
  const sink = new Writable({ write: (chunk, _encoding, done) => { logLines.push(JSON.parse(String(chunk)) as Record<string, unknown>); done(); } });
  const server = createEc2Server({ dispatcher, log: pino(sink), clock: systemClock, ...serverOptions });
  const { port } = await server.listen('127.0.0.1', 0);
  servers.push(server);
  return { url: `http://127.0.0.1:${port}`, port, server, logLines, entered: entered.promise, release: () => gate.resolve() };
}

function deferred() {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => { resolve = done; });
  return { promise, resolve: () => resolve() };
}

/** What a server says to these bytes until it closes. */
function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.on('data', (chunk) => { text += String(chunk); });
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}

const query = 'Action=DescribeRegions&Version=2014-10-01&Signature=topsecret&AWSAccessKeyId=AKIA';

describe('the query API', () => {
  it.each(['/', '/services/Cloud', '/services/Cloud/'])('answers at %s, by GET and by POST', async (path) => {
    const { url } = await start();
    for (const answer of [
      await fetch(`${url}${path}?${query}`), await fetch(`${url}${path}`, { method: 'POST', body: query }),
      await fetch(`${url}${path}?Version=2014-10-01`, { method: 'POST', body: 'Action=DescribeRegions' }),
    ]) {
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe('text/xml;charset=UTF-8');
      const text = await answer.text();
      expect(text).toContain('http://ec2.amazonaws.com/doc/2014-10-01/');
      expect(text).toContain(`<requestId>${answer.headers.get('x-amzn-requestid')}</requestId>`);
    }
  });

  it('lists the versions to a plain GET, as Nova did', async () => {
    const { url } = await start();
    const answer = await fetch(`${url}/`);
    expect(answer.headers.get('content-type')).toContain('text/plain');
    expect(await answer.text()).toMatch(/^1\.0\n2007-01-19\n/);
  });

  it.each([
    ['another path', '/services/Admin', {}, 404],
    ['another method', '/', { method: 'PUT', body: 'x' }, 405],
    ['no action', '/services/Cloud', {}, 400],
    ['a body of more than 1 MiB', '/', { method: 'POST', body: 'x'.repeat(1024 * 1024 + 1) }, 413],
  ])('refuses %s in XML', async (_, path, init, status) => {
    const { url } = await start();
    const answer = await fetch(`${url}${path}`, init);
    expect(answer.status).toBe(status);
    expect(await answer.text()).toMatch(/^<\?xml version="1.0" encoding="UTF-8"\?>\n<Response><Errors><Error><Code>/);
  });

  it('refuses a body that only turns out to be too large, and closes', async () => {
    const { port } = await start({ bodyBytesMax: 1000 });
    const answer = await raw(port, `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n${'x'.repeat(2048)}\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer.toLowerCase()).toContain('connection: close');
  });

  it('says in XML that something is no HTTP', async () => {
    const { port } = await start();
    const answer = await raw(port, 'HELLO\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 400 [\s\S]*<Code>InvalidRequest<\/Code>/);
    expect(await raw(port, `GET /?${'x'.repeat(200_000)} HTTP/1.1\r\nHost: x\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
  });

  it('takes a thousand ids by GET', async () => {
    const { url } = await start();
    const ids = Array.from({ length: 1000 }, (_, index) => `InstanceId.${index + 1}=i-0123456789abcdef0`).join('&');
    expect((await fetch(`${url}/?${query}&${ids}`)).status).toBe(200);
  });
});

it('the log has the action and the caller, and no secret', async () => {
  const observed: unknown[] = [];
  const { url, logLines } = await start({ observe: (request) => observed.push(request) });
  await fetch(`${url}/?${query}&UserData=topsecret`, { headers: { authorization: 'topsecret', 'user-agent': 'Boto/2.49' } });
  await fetch(`${url}/?X=topsecret&Action=Nothing`);
  expect(logLines).toMatchObject([
    { action: 'DescribeRegions', status: 200, userId: 'u', projectId: 'p', userAgent: 'Boto/2.49', ignoredParameters: ['UserData'], path: '/' },
    { code: 'InvalidAction', status: 400 },
  ]);
  expect(JSON.stringify(logLines)).not.toContain('topsecret');
  expect(observed).toMatchObject([{ action: 'DescribeRegions', status: 200 }, { code: 'InvalidAction' }]);
});

it('more requests than may be in hand are turned away', async () => {
  const { url, entered, release } = await start({ requestsMax: 1, holds: true });
  const first = fetch(`${url}/?${query}`);
  await entered;
  const second = await fetch(`${url}/?${query}`);
  expect(second.status).toBe(503);
  expect(await second.text()).toContain('<Code>RequestLimitExceeded</Code>');
  release();
  expect((await first).status).toBe(200);
  expect((await fetch(`${url}/?${query}`)).status).toBe(200);
});

describe('closing', () => {
  it('lets requests in hand finish, and takes no more', async () => {
    const { url, server, entered, release } = await start({ holds: true });
    const first = fetch(`${url}/?${query}`);
    await entered;
    const closed = server.close(5000);
    for (let turn = 0; turn < 2; turn += 1) await acceptWaiting(); // what the kernel had taken by then is still served
    await expect(fetch(`${url}/?${query}`)).rejects.toThrow();
    release();
    expect((await first).status).toBe(200);
    await closed;
  });

  it('cuts what does not finish by the deadline', async () => {
    const { url, server, entered } = await start({ holds: true });
    const first = fetch(`${url}/?${query}`).then(() => 'answered', () => 'cut');
    await entered;
    await server.close(20);
    expect(await first).toBe('cut');
  });
});

it('a port in use is a mistake of the set-up, with its remedy', async () => {
  const { port } = await start();
  const { server } = await start();
  await server.close();
  await expect(createEc2Server({ dispatcher: {} as never, log: silentLog, clock: systemClock }).listen('127.0.0.1', port)).rejects.toThrow(SetupError);
});
