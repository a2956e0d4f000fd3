// A change of one attribute of an entry.
import { Attribute, Change } from 'ldapts';

/** With `replace` and no values the attribute is taken away, also where there is none. */
export const change = (operation: 'add' | 'delete' | 'replace', type: string, ...values: string[]): Change =>
  new Change({ operation, modification: new Attribute({ type, values }) });
