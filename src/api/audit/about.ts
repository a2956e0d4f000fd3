// What a call of the query API is about: the ids and names among its parameters, and the ids in its answer. No other parameter is looked at, and of
// those with an id none that has not the form of one: what is secret in a request (user data, keys, passwords) has another name and another form.
const aboutMax = 20;
const depthMax = 5;

/** The last part of a parameter's name: `GroupName`, `Resource.1.InstanceId`. */
const named = /(?:^|\.)(?:(Id|[A-Z][A-Za-z]*Id)|(?:Key|Group|User)?Name|PublicIp|User|ManagerUser|Project|Role|Operation|OperationType)(?:\.\d+)?$/;
/** Of signatures. */
const ofProtocol: ReadonlySet<string> = new Set(['AWSAccessKeyId']);
const idForm = /^(?:[a-z]{1,12}(?:-[a-z]{1,8})?-[0-9a-f]{8,17}|A[A-Z]{3}[A-Z2-7]{16}|\d{12})$/;

/** By its parameters, in the order sent. */
export function aboutRequest(parameters: ReadonlyMap<string, string>): string[] {
  const found = new Set<string>();
  for (const [name, value] of parameters) {
    const match = ofProtocol.has(name) ? null : named.exec(name);
    if (match === null || value === '' || (match[1] !== undefined && !idForm.test(value))) continue;
    found.add(value);
    if (found.size === aboutMax) break;
  }
  return [...found];
}

/** With the ids in its output, the outermost first: what was made. */
export function aboutAnswer(request: readonly string[], output: unknown): string[] {
  const found = new Set(request);
  let level: unknown[] = [output];
  for (let depth = 0; depth < depthMax && found.size < aboutMax && level.length > 0; depth += 1) {
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null || value instanceof Date || value instanceof Uint8Array) continue;
      for (const [name, member] of Object.entries(value)) {
        if (typeof member === 'object') next.push(member);
        else if (name.endsWith('Id') && typeof member === 'string' && idForm.test(member) && found.size < aboutMax) found.add(member);
      }
    }
    level = next.slice(0, 1_000);
  }
  return [...found];
}
