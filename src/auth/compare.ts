// Comparison of signatures in constant time, as text: lenient decoders of base64 would take several texts for one signature.
import { timingSafeEqual } from 'node:crypto';

/** Whether both texts are the same bytes; how long it takes says nothing about where they differ. */
export function equalSignatures(left: string, right: string): boolean {
  const [first, second] = [Buffer.from(left, 'latin1'), Buffer.from(right, 'latin1')];
  return first.length === second.length && left.length === first.length && timingSafeEqual(first, second);
}
