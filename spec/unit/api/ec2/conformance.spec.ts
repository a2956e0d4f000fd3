// Every modelled operation, with random values, through AWS's own SDK: what its serializer writes our reader must read, and what our
// writer writes its deserializer must read. The seed is printed with a failure.
import * as ec2 from '@aws-sdk/client-ec2';
import * as iam from '@aws-sdk/client-iam';
import * as sts from '@aws-sdk/client-sts';
import { describe, expect, it } from 'vitest';
import { services, type Operation, type ServiceName } from '../../../../src/api/ec2/model.ts';
import { parseParameters, readInput } from '../../../../src/api/ec2/wire.ts';
import { writeResponse } from '../../../../src/api/ec2/xml.ts';
import { modelText } from '../../../../scripts/model.ts';
import { readFileSync } from 'node:fs';
import { randomStructure, seeded } from '../../../support/random-values.ts';

interface Exchange {
  body: string;
  answer: string;
}

/** A request handler of the SDK that keeps what is sent and answers what it is told. */
function handlerFor(exchange: Exchange) {
  return {
    async handle(request: { body?: unknown }) {
      exchange.body = String(request.body ?? '');
      return { response: { statusCode: 200, headers: { 'content-type': 'text/xml' }, body: new TextEncoder().encode(exchange.answer) } };
    },
  };
}

type Sender = { send(command: unknown): Promise<Record<string, unknown>> };
type Sdk = Readonly<Record<string, unknown>>;

const sdks = { ec2, sts, iam } as const;

function clientOf(service: ServiceName, exchange: Exchange): Sender {
  const config = {
    region: 'nova',
    endpoint: 'http://127.0.0.1:1',
    credentials: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'secret' },
    requestHandler: handlerFor(exchange) as never,
    maxAttempts: 1,
  };
  const clients = { ec2: () => new ec2.EC2Client(config), sts: () => new sts.STSClient(config), iam: () => new iam.IAMClient(config) };
  return clients[service]() as unknown as Sender;
}

const seed = Number(process.env['NOVACT_SPEC_SEED'] ?? 20110204);

async function roundTrip(operation: Operation, sdk: Sdk, client: Sender, exchange: Exchange, random: () => number) {
  const input = operation.input === undefined ? {} : randomStructure(operation.input, random);
  const output = operation.output === undefined ? {} : randomStructure(operation.output, random);
  exchange.answer = writeResponse(operation, output, { requestId: 'req', version: '2016-11-15' });
  const Command = sdk[`${operation.name}Command`] as new (input: unknown) => unknown;
  const { $metadata: _, ...received } = await client.send(new Command(structuredClone(input)));
  const read = readInput(operation, parseParameters('', exchange.body));
  return { input, output, read, received };
}

describe.each(['ec2', 'sts', 'iam'] as const)('the wire of %s', (service) => {
  const sdk = sdks[service] as unknown as Sdk;

  it(`is AWS's own for every operation (seed ${seed})`, async () => {
    const exchange: Exchange = { body: '', answer: '' };
    const client = clientOf(service, exchange);
    const random = seeded(seed);
    const failures: string[] = [];
    for (const operation of services[service].operations.values()) {
      try {
        const { input, output, read, received } = await roundTrip(operation, sdk, client, exchange, random);
        expect(read.input, `${operation.name} input`).toEqual(input);
        expect(read.ignored).toEqual([]);
        expect(received, `${operation.name} output`).toEqual(output);
      } catch (error) {
        failures.push(`${operation.name}: ${String(error).slice(0, 300)}`);
      }
    }
    expect(failures).toEqual([]);
  }, 120_000);
});

it('the checked-in model is the one of the installed SDK', () => {
  expect(readFileSync('src/api/ec2/model.json', 'utf8') === modelText(), 'run npm run model').toBe(true);
});
