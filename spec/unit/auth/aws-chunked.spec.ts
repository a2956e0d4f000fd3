// The aws-chunked forms, by the examples that AWS published and by what can be wrong with them.
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AwsChunkedDecoder, type ChunkedOptions } from '../../../src/auth/aws-chunked.ts';
import { payloadOf, type PayloadDecoder } from '../../../src/auth/payload.ts';
import { deriveSigningKey, hmacSha256 } from '../../../src/auth/signing-keys.ts';
import { requestOf } from '../../support/auth-fixture.ts';

const scope = { date: '20130524', region: 'us-east-1', service: 's3' };
const key = deriveSigningKey('wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', scope);
const signing = (seed: string) => ({ key, timestamp: '20130524T000000Z', scope: '20130524/us-east-1/s3/aws4_request', seed });
const plainSeed = '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9';
const trailerSeed = '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e';

interface Decoded {
  readonly body: Buffer;
  readonly trailers: Record<string, string>;
}

/** Sends the bytes in pieces of a size. */
async function decode(decoder: PayloadDecoder, wire: Buffer | string, pieceSize = 1 << 20): Promise<Decoded> {
  const bytes = Buffer.from(wire);
  const pieces = Array.from({ length: Math.ceil(bytes.length / pieceSize) }, (_piece, index) => bytes.subarray(index * pieceSize, (index + 1) * pieceSize));
  const output: Buffer[] = [];
  await pipeline(Readable.from(pieces), decoder, async (source: AsyncIterable<Buffer>) => {
    for await (const chunk of source) output.push(chunk);
  });
  return { body: Buffer.concat(output), trailers: Object.fromEntries(decoder.trailers) };
}

const failure = (code: string) => ({ name: 'ApiError', code });

const plainOptions: ChunkedOptions = { decodedLength: 66_560, signing: signing(plainSeed), trailerNames: undefined };
const published = Buffer.concat([
  Buffer.from('10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n'), Buffer.alloc(65_536, 'a'),
  Buffer.from('\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n'), Buffer.alloc(1024, 'a'),
  Buffer.from('\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n'),
]);

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Chunks and trailer signed here, for what the published examples do not have. */
function sign(chunks: readonly string[], trailers: readonly (readonly [string, string])[] | undefined): string {
  let previous = trailerSeed;
  const next = (kind: string, digests: string): string => {
    const { timestamp, scope: scopeText } = signing('');
    previous = hmacSha256(key, `${kind}\n${timestamp}\n${scopeText}\n${previous}\n${digests}`).toString('hex');
    return previous;
  };
  const wire = [...chunks, ''].map((chunk) => {
    const signature = next('AWS4-HMAC-SHA256-PAYLOAD', `${sha256('')}\n${sha256(chunk)}`);
    return `${chunk.length.toString(16)};chunk-signature=${signature}\r\n${chunk === '' ? '' : `${chunk}\r\n`}`;
  });
  if (trailers === undefined) return `${wire.join('')}\r\n`;
  const lines = trailers.map(([name, value]) => `${name}:${value}\n`).join('');
  const signature = next('AWS4-HMAC-SHA256-TRAILER', sha256(lines));
  return `${wire.join('')}${lines.replaceAll('\n', '\r\n')}x-amz-trailer-signature:${signature}\r\n\r\n`;
}

describe('signed chunks', () => {
  test('the example that AWS published is believed, in pieces of any size', async () => {
    for (const pieceSize of [7, 1000, 1 << 20]) {
      expect((await decode(new AwsChunkedDecoder(plainOptions), published, pieceSize)).body).toEqual(Buffer.alloc(66_560, 'a'));
    }
  });

  test('any byte changed is refused', async () => {
    await fc.assert(fc.asyncProperty(fc.nat(published.length - 1), fc.integer({ min: 1, max: 255 }), async (index, flip) => {
      const wire = Buffer.from(published);
      wire[index] = (wire[index] ?? 0) ^ flip;
      // The size of a chunk may be written in either case.
      if (wire.toString('latin1').toLowerCase() === published.toString('latin1') && /[A-F]/.test(String.fromCharCode(wire[index] ?? 0))) return;
      await expect(decode(new AwsChunkedDecoder(plainOptions), wire)).rejects.toMatchObject({ name: 'ApiError' });
    }), { numRuns: 200, examples: [[0, 1], [22, 1], [86, 1], [87, 1], [88, 1], [published.length - 1, 1]] });
  });

  test('a body that ends early, anywhere, is refused', async () => {
    const wire = sign(['hello', 'world'], undefined);
    const options = { decodedLength: 10, signing: signing(trailerSeed), trailerNames: undefined };
    expect((await decode(new AwsChunkedDecoder(options), wire)).body.toString()).toBe('helloworld');
    for (let length = 0; length < wire.length; length += 1) {
      await expect(decode(new AwsChunkedDecoder(options), wire.slice(0, length))).rejects.toMatchObject(failure('IncompleteBody'));
    }
    await expect(decode(new AwsChunkedDecoder(options), `${wire}x`)).rejects.toMatchObject(failure('IncompleteBody'));
  });

  test('chunks in another order, a chunk left out and unsigned chunks are refused', async () => {
    const options = { decodedLength: 10, signing: signing(trailerSeed), trailerNames: undefined };
    const [first = '', second = ''] = sign(['hello', 'world'], undefined).split(/(?=5;)/);
    await expect(decode(new AwsChunkedDecoder(options), second.slice(0, -90) + first)).rejects.toMatchObject({ name: 'ApiError' });
    await expect(decode(new AwsChunkedDecoder({ ...options, decodedLength: 5 }), second)).rejects.toMatchObject(failure('SignatureDoesNotMatch'));
    await expect(decode(new AwsChunkedDecoder(options), 'a\r\nhelloworld\r\n0\r\n\r\n')).rejects.toMatchObject(failure('IncompleteBody'));
  });

  test('a length other than the one declared is refused', async () => {
    for (const decodedLength of [9, 11]) {
      const options = { decodedLength, signing: signing(trailerSeed), trailerNames: undefined };
      await expect(decode(new AwsChunkedDecoder(options), sign(['hello', 'world'], undefined))).rejects.toMatchObject(failure('IncompleteBody'));
    }
  });

  test('a head without an end takes no memory', async () => {
    const decoder = new AwsChunkedDecoder(plainOptions);
    await expect(decode(decoder, 'f'.repeat(100_000), 100)).rejects.toMatchObject(failure('IncompleteBody'));
  });
});

describe('signed chunks with a trailer', () => {
  const options = { decodedLength: 10, signing: signing(trailerSeed), trailerNames: ['x-amz-checksum-crc32c'] };
  const wire = sign(['hello', 'world'], [['x-amz-checksum-crc32c', 'sOO8/Q==']]);

  test('the example that AWS published is believed', async () => {
    const example = Buffer.concat([
      Buffer.from('10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n'), Buffer.alloc(65_536, 'a'),
      Buffer.from('\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n'), Buffer.alloc(1024, 'a'),
      Buffer.from('\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n'),
      Buffer.from('x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n'),
    ]);
    const { trailers } = await decode(new AwsChunkedDecoder({ ...options, decodedLength: 66_560 }), example, 11);
    expect(trailers).toEqual({ 'x-amz-checksum-crc32c': 'sOO8/Q==' });
  });

  test('the trailer is exposed, and a changed value or signature is refused', async () => {
    expect(await decode(new AwsChunkedDecoder(options), wire, 3)).toEqual({
      body: Buffer.from('helloworld'), trailers: { 'x-amz-checksum-crc32c': 'sOO8/Q==' },
    });
    await expect(decode(new AwsChunkedDecoder(options), wire.replace('sOO8', 'sOO9'))).rejects.toMatchObject(failure('SignatureDoesNotMatch'));
    await expect(decode(new AwsChunkedDecoder(options), wire.replace(/.\r\n\r\n$/, 'x\r\n\r\n'))).rejects.toMatchObject(failure('SignatureDoesNotMatch'));
  });

  test('a trailer without its signature, unannounced, missing, or after its signature is refused', async () => {
    await expect(decode(new AwsChunkedDecoder(options), wire.replace(/x-amz-trailer-signature.*\r\n/, ''))).rejects.toMatchObject(failure('IncompleteBody'));
    await expect(decode(new AwsChunkedDecoder({ ...options, trailerNames: [] }), wire)).rejects.toMatchObject(failure('MalformedTrailerError'));
    await expect(decode(new AwsChunkedDecoder(options), sign(['helloworld'], []))).rejects.toMatchObject(failure('MalformedTrailerError'));
    const longer = wire.replace(/\r\n$/, 'x-amz-checksum-crc32c:x\r\n\r\n');
    await expect(decode(new AwsChunkedDecoder(options), longer)).rejects.toMatchObject(failure('MalformedTrailerError'));
  });
});

describe('unsigned chunks with a trailer', () => {
  const options = { decodedLength: 5, signing: undefined, trailerNames: ['x-amz-checksum-crc32'] };
  const wire = '3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Amz-Checksum-CRC32: NhCmhg==\r\n\r\n';

  test('the body and the trailer arrive, in pieces of any size', async () => {
    for (let pieceSize = 1; pieceSize <= wire.length; pieceSize += 1) {
      expect(await decode(new AwsChunkedDecoder(options), wire, pieceSize)).toEqual({
        body: Buffer.from('hello'), trailers: { 'x-amz-checksum-crc32': 'NhCmhg==' },
      });
    }
    expect((await decode(new AwsChunkedDecoder({ ...options, decodedLength: 0, trailerNames: [] }), '0\r\n\r\n')).body).toHaveLength(0);
  });

  test('a body that ends early, bad sizes and endless trailers are refused', async () => {
    for (let length = 0; length < wire.length; length += 1) {
      await expect(decode(new AwsChunkedDecoder(options), wire.slice(0, length))).rejects.toMatchObject(failure('IncompleteBody'));
    }
    for (const bad of ['-1\r\n', '0x5\r\nhello', ' 5\r\nhello', '5\nhello', '5;a=b\r\nhello', 'fffffffffffff\r\n', '6\r\nhello', '4\r\nhello\r\n0\r\n\r\n']) {
      await expect(decode(new AwsChunkedDecoder(options), bad)).rejects.toMatchObject(failure('IncompleteBody'));
    }
    await expect(decode(new AwsChunkedDecoder(options), `5\r\nhello\r\n0\r\n${'x'.repeat(10_000)}`)).rejects.toMatchObject(failure('IncompleteBody'));
    const twice = wire.replace(/(X-Amz.*\r\n)/, '$1$1');
    await expect(decode(new AwsChunkedDecoder(options), twice)).rejects.toMatchObject(failure('MalformedTrailerError'));
  });
});

describe('a payload with its digest', () => {
  const digest = createHash('sha256').update('hello').digest('hex');

  test('passes, and fails before its end when it is another', async () => {
    const payload = payloadOf(requestOf({ target: '/' }), digest, undefined);
    expect((await decode(payload.createDecoder(), 'hello', 2)).body.toString()).toBe('hello');
    for (const body of ['hellp', 'hell', '', 'helloo']) {
      await expect(decode(payload.createDecoder(), body)).rejects.toMatchObject(failure('XAmzContentSHA256Mismatch'));
    }
  });
});
