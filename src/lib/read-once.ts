// Texts that come again and again, read once: the same text always says the same. What is read is shared by all who ask, and nobody changes it.
import { LRUCache } from 'lru-cache';

const textsMax = 512;
/** Longer ones are read each time: they are few, and would take much memory. */
const lengthMax = 4_096;

export function readOnce<Value extends object>(read: (text: string) => Value): (text: string) => Value {
  const known = new LRUCache<string, Value>({ max: textsMax });
  return (text) => {
    if (text.length > lengthMax) return read(text);
    const value = known.get(text) ?? read(text);
    known.set(text, value);
    return value;
  };
}
