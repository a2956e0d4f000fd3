// The keys of the mailboxes in Redis and the two scripts that change several of them at once. All keys of one mailbox have one hash tag.
import { depthMaxDefault, concurrencyMaxDefault } from './transport.ts';

/** Of every mailbox. */
export const group = 'g';
/** The one consumer of an owned mailbox: whoever owns it next finds what the last one had in hand. */
export const ownerConsumer = 'owner';
/** A set of all mailboxes that anybody wrote to or serves: for the depths and the dead letters. */
export const mailboxesKey = 'nv:mailboxes';

export interface MailboxKeys {
  /** The stream. An entry has one field: its name is the order key, which may be empty, and its value the envelope. */
  readonly stream: string;
  /** Who serves an owned mailbox; the newest wins. */
  readonly owner: string;
  /** How many entries the stream may have. */
  readonly limit: string;
  /** A stream of dead letters, field `m`. */
  readonly deadLetters: string;
}

export const mailboxKeys = (mailbox: string): MailboxKeys => ({
  stream: `nv:{${mailbox}}:mb`, owner: `nv:{${mailbox}}:own`, limit: `nv:{${mailbox}}:max`, deadLetters: `nv:{${mailbox}}:dlq`,
});

/** The stream of a process's replies, field `m`. */
export const replyKey = (process: string): string => `nv:{p:${process}}:re`;

/** What a mailbox holds at most whose receiver said nothing: what waits, and what is in hand. */
export const limitDefault = depthMaxDefault + concurrencyMaxDefault;

/**
 * KEYS stream, limit. ARGV: the default limit, then order key and text of each message. Returns how many were stored: the first ones.
 * There is no MAXLEN: it would destroy messages that nobody has handled.
 */
export const putScript = `
local room = tonumber(redis.call('GET', KEYS[2]) or ARGV[1]) - redis.call('XLEN', KEYS[1])
local stored = 0
for i = 2, #ARGV, 2 do
  if stored >= room then break end
  redis.call('XADD', KEYS[1], '*', ARGV[i], ARGV[i + 1])
  stored = stored + 1
end
return stored`;

/**
 * KEYS stream, owner, dead letters. ARGV: the owner's token (empty: shared), how many dead letters are kept, how many there are now, id and
 * letter of each of those, and the ids of all others. Returns -1, and does nothing, when another owns the mailbox by now. A letter is written
 * once, also when the command is repeated.
 */
export const acknowledgeScript = `
local owner = redis.call('GET', KEYS[2])
if ARGV[1] ~= '' and owner and owner ~= ARGV[1] then return -1 end
local last = 3 + 2 * ARGV[3]
for i = 4, last, 2 do
  if redis.call('XACK', KEYS[1], '${group}', ARGV[i]) == 1 then redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'm', ARGV[i + 1]) end
  redis.call('XDEL', KEYS[1], ARGV[i])
end
if last < #ARGV then
  redis.call('XACK', KEYS[1], '${group}', unpack(ARGV, last + 1))
  redis.call('XDEL', KEYS[1], unpack(ARGV, last + 1))
end
return 0`;

/**
 * KEYS stream. ARGV: idle milliseconds. Removes consumers of a shared mailbox that were silent for so long and have nothing in hand: what a
 * removed consumer had in hand would never come again.
 */
export const forgetConsumersScript = `
local removed = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], '${group}')) do
  local about = {}
  for i = 1, #consumer, 2 do about[consumer[i]] = consumer[i + 1] end
  if about.pending == 0 and about.idle >= tonumber(ARGV[1]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '${group}', about.name)
    removed = removed + 1
  end
end
return removed`;
