// Text as libvirt's XML takes it.
import { DriverError } from '../../../lib/errors.ts';

/** Text for an element or an attribute. Control characters do not exist in XML 1.0, escaped or not. */
export function escapeXml(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what is looked for
  if (/[\u0000-\u001f\u007f\ufffe\uffff]/.test(text)) throw new DriverError('failed', `a control character in ${JSON.stringify(text.slice(0, 80))}`);
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
