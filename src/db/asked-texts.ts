// Many texts as one parameter of a statement: of the two drivers of PostgreSQL one knows no arrays.

/** For `json_array_elements_text` and its like. PostgreSQL keeps no text with NUL or half a character in it: whoever asks for one looks for nothing. */
export const askedTexts = (texts: readonly (readonly (string | null)[] | string)[]): string => JSON.stringify(texts);

const halfCharacter = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** Nothing in the database has such a name, and one of them would fail all that is asked with it. */
export const canBeAsked = (text: string): boolean => !text.includes('\0') && !halfCharacter.test(text);
