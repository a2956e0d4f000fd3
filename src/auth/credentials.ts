// Access keys: made, sealed, found again. The secret leaves here twice: once to whoever made the key, and to the verification of
// a signature. Keys are read from the driver at every request, so that a disabled key is refused at once, on every host.
import { LRUCache } from 'lru-cache';
import type { AccessKeyRecord, AuthDriver, KeyHolder, UserRecord } from '../drivers/auth/driver.ts';
import { ApiError } from '../lib/errors.ts';
import { newAccessKeyId, newSecretKey } from '../lib/ids.ts';
import type { Sealer } from '../lib/sealed.ts';

/** What a request's access key id leads to, before its signature is verified. */
export interface Credential {
  /** Without the `:project`. */
  readonly accessKeyId: string;
  readonly secret: string;
  readonly user: UserRecord;
  /** The id or name after the colon of `access:project`. */
  readonly requestedProject: string | undefined;
  /** The project that the key itself stands for. */
  readonly keyProjectId: string | undefined;
  /** Of a session: good in the key's project alone. */
  readonly isTemporary?: true;
  /** What the store told of the key in the same look, where it can. */
  readonly holder?: KeyHolder;
}

/** Shown once. */
export interface NewAccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** What may be listed: no secret, sealed or not. */
export type AccessKeySummary = Omit<AccessKeyRecord, 'sealedSecret'>;

export interface AccessKeyRequest {
  readonly userId: string;
  readonly projectId: string | undefined;
  /** A given key, as when an old cloud's users are brought along; random when absent. */
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
}

const accessKeyIdMax = 128;
/** Secrets that are kept open. */
const openedMax = 1_000;

export class AccessKeys {
  readonly #driver: AuthDriver;
  readonly #sealer: Sealer;
  readonly #opened = new LRUCache<string, string>({ max: openedMax });

  constructor(settings: { driver: AuthDriver; sealer: Sealer }) {
    this.#driver = settings.driver;
    this.#sealer = settings.sealer;
  }

  async create(request: AccessKeyRequest): Promise<NewAccessKey> {
    const accessKeyId = request.accessKeyId ?? newAccessKeyId();
    const secretAccessKey = request.secretAccessKey ?? newSecretKey();
    // A colon would read as the project's, a slash as the scope's, and neither may differ between an id and its header.
    if (!/^[A-Za-z0-9._-]{3,128}$/.test(accessKeyId)) {
      throw new ApiError('ValidationError', 'An access key id has 3 to 128 letters, digits, dots, hyphens and underscores.', 400);
    }
    if (!/^[\x21-\x7e]{1,128}$/.test(secretAccessKey)) {
      throw new ApiError('ValidationError', 'A secret access key has 1 to 128 printable ASCII characters.', 400);
    }
    await this.#driver.createAccessKey({
      id: accessKeyId, userId: request.userId, projectId: request.projectId, enabled: true,
      sealedSecret: this.#sealer.seal(secretAccessKey, contextOf(accessKeyId)),
    });
    return { accessKeyId, secretAccessKey };
  }

  async list(userId: string): Promise<AccessKeySummary[]> {
    const keys = await this.#driver.accessKeys(userId);
    return keys.map(({ sealedSecret: _sealed, ...summary }) => summary);
  }

  /** A new key in the place of an old one, which is refused from then on. */
  async rotate(accessKeyId: string): Promise<NewAccessKey> {
    const old = await this.#driver.accessKey(accessKeyId);
    if (old === undefined) throw noSuchKey(accessKeyId);
    const created = await this.create({ userId: old.userId, projectId: old.projectId });
    await this.#driver.deleteAccessKey(accessKeyId);
    return created;
  }

  /** Undefined: no such key, or the key or its user is disabled. The store is asked each time. */
  async find(accessKeyIdWithProject: string): Promise<Credential | undefined> {
    const named = splitAccessKeyId(accessKeyIdWithProject);
    if (named === undefined) return undefined;
    const { accessKeyId, project } = named;
    const holder = await this.#driver.keyHolder?.(accessKeyId);
    const found = this.#driver.keyHolder === undefined ? await this.#keyAndUser(accessKeyId) : holder;
    if (found === undefined || !found.key.enabled || !found.user.enabled) return undefined;
    const { key, user } = found;
    const known = { accessKeyId: key.id, secret: this.#secretOf(key), user, requestedProject: project, keyProjectId: key.projectId };
    return holder === undefined ? known : { ...known, holder };
  }

  async #keyAndUser(accessKeyId: string): Promise<Pick<KeyHolder, 'key' | 'user'> | undefined> {
    const key = await this.#driver.accessKey(accessKeyId);
    const user = key === undefined ? undefined : await this.#driver.user(key.userId);
    return key === undefined || user === undefined ? undefined : { key, user };
  }

  /** What a sealed text says never changes: it is opened once, while it is in use. */
  #secretOf({ id, sealedSecret }: AccessKeyRecord): string {
    const name = `${id} ${sealedSecret}`;
    const secret = this.#opened.get(name) ?? this.#sealer.open(sealedSecret, contextOf(id));
    this.#opened.set(name, secret);
    return secret;
  }
}

/** `access:project` in its parts. Undefined: it can be nobody's. */
export function splitAccessKeyId(text: string): { readonly accessKeyId: string; readonly project: string | undefined } | undefined {
  const colon = text.indexOf(':');
  const accessKeyId = colon === -1 ? text : text.slice(0, colon);
  const project = colon === -1 ? '' : text.slice(colon + 1);
  if (accessKeyId === '' || accessKeyId.length > accessKeyIdMax || accessKeyId.includes('\0') || project.includes('\0')) return undefined;
  return { accessKeyId, project: project === '' ? undefined : project };
}

export const noSuchKey = (accessKeyId: string): ApiError => new ApiError('NoSuchEntity', `The Access Key with id ${accessKeyId} cannot be found.`, 404);

const contextOf = (accessKeyId: string): string => `access key ${accessKeyId}`;
