// Addresses signed by the AWS SDK for JavaScript, by what `@aws-sdk/client-s3` has in it.
import type { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { region } from './world.ts';

interface Asked {
  headers: Record<string, string>;
}

interface Presigner {
  presign(asked: Asked, options: { readonly expiresIn: number }): Promise<SignedRequest>;
}

interface SignedRequest {
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
}

/** By the client's own signer, at the place in its stack where requests are signed, as the package `@aws-sdk/s3-request-presigner` does it. */
export async function presigned(s3: S3Client, port: number, command: GetObjectCommand): Promise<string> {
  let signed: SignedRequest | undefined;
  command.middlewareStack.addRelativeTo(() => async ({ request }: { readonly request: unknown }) => {
    const signer = (await s3.config.signer({ name: 'sigv4', signingName: 's3', signingRegion: region, properties: {} })) as unknown as Presigner;
    const asked = request as Asked;
    asked.headers = { host: asked.headers['host'] ?? '', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' };
    signed = await signer.presign(asked, { expiresIn: 60 });
    return { response: {}, output: { $metadata: {} } };
  }, { relation: 'before', toMiddleware: 'httpSigningMiddleware' });
  await s3.send(command);
  return `http://127.0.0.1:${port}${signed?.path}?${new URLSearchParams(signed?.query).toString()}`;
}
