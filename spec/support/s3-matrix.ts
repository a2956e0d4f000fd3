// The matrix of S3: what each client does, unmodified, against novact. A cell is run by spec/clients/s3-matrix.spec.ts, or has its reason here: something
// that the client has no way to ask for. docs/reference/s3-clients.md is written from this table, and the spec fails where the two are not what it saw.

export const clients = {
  s3cmd: { title: 's3cmd 2.3', how: 'Debian\'s package; each cell is some commands. They run as children of one process that has loaded s3cmd\'s modules.' },
  awscli: { title: 'awscli 2.9', how: 'Debian\'s package, as s3cmd: what `/usr/bin/aws` calls, with those arguments.' },
  boto2: { title: 'boto 2.49', how: 'Debian\'s package `python3-boto`, in one process. Signature 2 unless the cell says otherwise, as it is by default.' },
  boto3: { title: 'boto3 1.26', how: 'Debian\'s package `python3-boto3`, in one process.' },
  rclone: { title: 'rclone 1.60', how: 'Debian\'s package; each cell is some commands.' },
  sdk: { title: 'AWS SDK for JavaScript', how: 'The package `@aws-sdk/client-s3` of `package.json`, which follows the newest.' },
} as const;

export type ClientName = keyof typeof clients;
export const clientNames = Object.keys(clients) as ClientName[];

export interface Row {
  /** What the spec calls it, and the page. */
  readonly name: string;
  /** What must be seen for a cell to be green. */
  readonly seen: string;
  /** Why a client has no such cell. */
  readonly cannot?: Partial<Readonly<Record<ClientName, string>>>;
}

const noCommand = 'has no such command';
const noOption = 'has no such option';
const all = (reason: string, ...names: readonly ClientName[]) => Object.fromEntries(names.map((name) => [name, reason]));
/** Tools for files, which leave a bucket's settings alone. */
const noFileTool = (reason = noCommand) => all(reason, 's3cmd', 'rclone');

export const groups: Readonly<Record<string, readonly Row[]>> = {
  Buckets: [
    { name: 'create a bucket', seen: 'it is listed; creating it again is `BucketAlreadyOwnedByYou` (which rclone, that creates it again, is content with)' },
    { name: 'list buckets', seen: 'the project\'s own are there, another project\'s are not' },
    { name: 'head a bucket', seen: 'there, or not there (404)', cannot: noFileTool('asks for something in it instead') },
    { name: 'delete a bucket', seen: 'refused with something in it (`BucketNotEmpty`); then gone' },
    { name: 'location', seen: 'the region that the bucket was made with', cannot: all(noCommand, 'rclone') },
    { name: 'tags of a bucket', seen: 'put, read, deleted, and then `NoSuchTagSet`', cannot: noFileTool() },
    {
      name: 'canned ACL of a bucket',
      seen: '`public-read` opens its listing to everybody; taken back (not by rclone, which sets it at creation) it is closed again',
    },
    { name: 'grants of a bucket', seen: 'another project may list by a grant to its id; the grants read back', cannot: all(noCommand, 'rclone') },
    { name: 'bucket policy', seen: 'everybody may read while it is there; read back, deleted', cannot: all(noCommand, 'rclone') },
    { name: 'CORS', seen: 'put, read, obeyed by a preflight, deleted', cannot: all(noCommand, 'rclone') },
    { name: 'lifecycle', seen: 'an expiration put, read, deleted', cannot: all(noCommand, 'rclone') },
    { name: 'versioning', seen: 'never set, enabled, suspended', cannot: noFileTool() },
  ],
  Objects: [
    { name: 'put and get', seen: '0 bytes, some, and 3 MiB, byte for byte' },
    { name: 'odd keys', seen: 'spaces, `+`, `%2F`, `&`, quotes, angle brackets, letters of other alphabets and an emoji: put, listed exactly, read' },
    { name: 'head an object', seen: 'size, type and MD5; what is absent is said to be' },
    { name: 'delete an object', seen: 'gone, and its neighbour is not' },
    { name: 'delete many', seen: 'three keys in one request', cannot: all('deletes one after the other', 'rclone') },
    { name: 'copy', seen: 'by the server: content, type and user metadata are the source\'s' },
    { name: 'copy with other metadata', seen: 'by the server: the content is the source\'s, the metadata new' },
    { name: 'ranges', seen: 'the middle and the end of an object' },
    { name: 'conditional requests', seen: 'by entity tag and by date: 304 and 412 where they are due, and content where not', cannot: all(noOption, 's3cmd') },
    {
      name: 'tags of an object',
      seen: 'put with it and later, read, deleted (rclone: put with it)',
      cannot: { ...all(noCommand, 's3cmd'), ...all('is older than tags of objects', 'boto2') },
    },
    { name: 'canned ACL of an object', seen: '`public-read` with the put opens it; `private` closes it (not by rclone, which only puts)' },
    { name: 'grants of an object', seen: 'another project may read by a grant to its id; the grants read back', cannot: all(noOption, 'rclone') },
    {
      name: 'versions',
      seen: 'two versions and a delete marker listed, the older read; the marker deleted, the object is back (rclone: listed and read)',
      cannot: all(noCommand, 's3cmd'),
    },
    { name: 'Content-MD5', seen: 'sent with a put; a wrong one is `BadDigest` (not of rclone, which sends no wrong one)', cannot: all('sends none', 's3cmd') },
    {
      name: 'checksums in headers',
      seen: 'CRC32, SHA1 and SHA256 (the SDK also CRC32C and CRC64NVME) kept and read back; a wrong one is refused',
      cannot: all('is older than they are', 'boto2', 's3cmd', 'rclone'),
    },
    {
      name: 'checksums in trailers',
      seen: 'of a body that is streamed: kept and read back',
      cannot: { ...all('is older than they are', 'boto2', 's3cmd', 'rclone'), ...all('sends them over HTTPS only', 'boto3', 'awscli') },
    },
    { name: 'metadata and content headers', seen: 'user metadata, Content-Type, -Encoding, -Language, -Disposition and Cache-Control as they were put' },
    { name: 'response-* overrides', seen: 'the answer has the headers that the request asks for', cannot: all(noOption, 'rclone') },
    { name: 'public static GET', seen: 'an object put for everybody is served to a plain HTTP client, with its type' },
  ],
  Multipart: [
    { name: 'multipart upload', seen: 'parts of 5 MiB and a last one; the content, and the entity tag of that form' },
    { name: 'list uploads', seen: 'one that is open, by key and id' },
    { name: 'list parts', seen: 'numbers and sizes', cannot: all(noCommand, 'rclone') },
    { name: 'abort an upload', seen: 'it is not listed any more' },
    { name: 'copy a part', seen: 'by the server: an object of two copied ranges' },
  ],
  Signatures: [
    { name: 'signature 4', seen: 'put and get in a bucket whose policy denies signature 2' },
    { name: 'signature 2', seen: 'put and get in a bucket whose policy denies signature 4', cannot: all('signs by version 4 only', 'awscli', 'sdk') },
    {
      name: 'address signed by version 4', seen: 'a plain HTTP client reads by it; changed it is refused', cannot: {
        ...all('signs addresses by version 2 only', 's3cmd'), ...all('signs a port other than 80 twice', 'boto2'),
      },
    },
    {
      name: 'address signed by version 2', seen: 'a plain HTTP client reads by it; changed it is refused', cannot: {
        ...all('signs by version 4 only', 'awscli', 'sdk'), ...all('signs addresses by version 4 only', 'rclone'),
      },
    },
    {
      name: 'POST form with policy',
      seen: 'a plain HTTP client uploads with the fields that the client signed; another key than the policy\'s is refused',
      cannot: {
        boto2: 'its function fails under Python 3, before it asks for anything', ...all(noCommand, 'awscli', 'rclone'),
        sdk: 'it is in a package of its own, `@aws-sdk/s3-presigned-post`',
      },
    },
    { name: 'refusals', seen: 'its own error says `SignatureDoesNotMatch`, `AccessDenied` (another project\'s bucket) and that a key is not there' },
  ],
  Listings: [
    { name: 'list, version 1', seen: 'keys and folders by prefix and delimiter, and all keys in pages of two (s3cmd: in one)' },
    { name: 'list, version 2', seen: 'the same, with start-after where the client has it', cannot: all('lists by version 1 only', 's3cmd', 'boto2') },
    { name: 'encoding-type', seen: 'asked for explicitly: keys encoded, and folders', cannot: all(noOption, 's3cmd') },
  ],
  Folders: [
    {
      name: 'sync a folder up',
      seen: 'new, changed and, told so, removed files; a second time nothing moves',
      cannot: all('is a library without it', 'boto2', 'boto3', 'sdk'),
    },
    { name: 'sync a folder down', seen: 'the same files with the same content', cannot: all('is a library without it', 'boto2', 'boto3', 'sdk') },
  ],
};

export const rows = Object.values(groups).flat();

/** Names of the rows that a client does. */
export const cellsOf = (client: ClientName): string[] => rows.filter(({ cannot }) => cannot?.[client] === undefined).map(({ name }) => name);

/** docs/reference/s3-clients.md. `notice`: where generated pages say that they are. */
export function s3ClientsPage(notice: string): string {
  const count = clientNames.reduce((sum, client) => sum + cellsOf(client).length, 0);
  const reasons: string[] = [];
  const noteOf = (reason: string) => {
    if (!reasons.includes(reason)) reasons.push(reason);
    return `no (${reasons.indexOf(reason) + 1})`;
  };
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const head = ['operation', ...clientNames.map((client) => clients[client].title)];
  const tables = Object.entries(groups).map(([title, list]) => {
    const cellOf = ({ cannot }: Row, client: ClientName) => (cannot?.[client] === undefined ? 'works' : noteOf(cannot[client]));
    const body = list.map((row) => line([row.name, ...clientNames.map((client) => cellOf(row, client))]));
    return [`## ${title}`, line(head), `|${head.map(() => '---').join('|')}|`, ...body].join('\n');
  });
  return `# S3, client by client

${notice} From \`spec/support/s3-matrix.ts\`, whose every cell \`spec/clients/s3-matrix.spec.ts\` runs
against a \`novact up\` on simulated guests: ${count} cells of ${rows.length} operations work, all of those that a client can ask for. A cell
without has a reason, by its number: the client could ask no server for it.

${tables.join('\n\n')}

## Why not
${reasons.map((reason, index) => `${index + 1}. The client ${reason}.`).join('\n')}

## What is seen
${rows.map(({ name, seen }) => `- **${name}**: ${seen}.`).join('\n')}

## The clients
${clientNames.map((client) => `- **${clients[client].title}**: ${clients[client].how}`).join('\n')}
`;
}
