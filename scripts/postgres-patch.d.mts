export function patchedConnection(text: string): string;
