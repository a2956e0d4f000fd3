// An EC2 (or STS, or IAM) action: one entry of a family's list. Shapes come from AWS's model; handlers see typed input, return typed
// output, and never see Koa or XML. The only cast of this folder is here.
import type * as ec2 from '@aws-sdk/client-ec2';
import type * as iam from '@aws-sdk/client-iam';
import type * as sts from '@aws-sdk/client-sts';
import type { AuthManager } from '../../auth/manager.ts';
import type { Principal } from '../../auth/principal.ts';
import type { Permission } from '../../auth/roles.ts';
import type { Db } from '../../db/db.ts';
import type { Overcommit } from '../../db/hosts.ts';
import type { ProjectNetworkPolicy } from '../../db/project-networks.ts';
import type { Clock } from '../../lib/clock.ts';
import { ApiError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Directory } from '../../transport/directory.ts';
import type { Relay, Transport } from '../../transport/transport.ts';
import type { ErrorCode } from './errors.ts';

export type { Permission };

type Commands = typeof ec2 & typeof sts & typeof iam;

/** Names of all modelled actions: `RunInstances` … and `GetCallerIdentity` … */
export type ActionName = keyof { [K in keyof Commands as K extends `${infer Name}Command` ? Exclude<Name, '$'> : never]: true };

type CommandClass<Name extends ActionName> = Commands[`${Name}Command` & keyof Commands];

/** The typed input and output of an action, by AWS's declarations. */
export type InputOf<Name extends ActionName> = CommandClass<Name> extends new (input: never) => { readonly input: infer Input } ? Input : never;
export type OutputOf<Name extends ActionName> = CommandClass<Name> extends new (input: never) => {
  resolveMiddleware(...rest: never[]): (...rest: never[]) => Promise<{ output: infer Output }>;
}
  ? Omit<Output, '$metadata'>
  : never;

/** What an operator's command does too, and clients of the Admin API may ask for. */
export interface OperatorWork {
  /** Makes a way into a project's network, and says its id. */
  startVpn(project: string): Promise<string>;
  /** The zip of what a user needs in a project, with a new certificate. */
  userCredentials(user: string, project: string): Promise<Buffer>;
}

/** What the cloud offers to every action. */
export interface Services {
  readonly db: Db;
  readonly auth: AuthManager;
  readonly operator: OperatorWork;
  readonly transport: Transport;
  /** Kicked after every commit that left work for an owner. */
  readonly relay: Relay;
  /** Whose services are heard of. */
  readonly directory: Pick<Directory, 'services'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly region: string;
  readonly zone: string;
  /** Of the guests' names, as their DNS answers them: `<instance id>.<domain>`. */
  readonly dnsDomain: string;
  /** Base of the endpoints as clients reach them: `http://127.0.0.1:8773`. */
  readonly endpoint: string;
  /** What projects may have that were given no limits of their own. */
  readonly instancesPerProjectMax: number;
  /** As above, of floating addresses. */
  readonly addressesPerProjectMax: number;
  /** How projects get networks of their own; undefined: all share one. */
  readonly projectNetworks?: ProjectNetworkPolicy | undefined;
  readonly vpcsPerProjectMax: number;
  readonly subnetsPerVpcMax: number;
  readonly volumesPerProjectMax: number;
  readonly gigabytesPerProjectMax: number;
  readonly snapshotsPerProjectMax: number;
  readonly coresPerProjectMax: number;
  readonly memoryMiBPerProjectMax: number;
  readonly securityGroupsPerProjectMax: number;
  readonly rulesPerSecurityGroupMax: number;
  readonly keyPairsPerProjectMax: number;
  readonly imagesPerProjectMax: number;
  /** As the schedulers have it. */
  readonly overcommit: Overcommit;
}

/** One call of one client. */
export interface Call<Codes extends ErrorCode = ErrorCode> extends Services {
  readonly requestId: string;
  readonly principal: Principal;
  /** As the client sent it: `2016-11-15`. */
  readonly version: string;
  /** Ends the call with an error that the entry declares. */
  fail(code: Codes, message: string): never;
}

/** Values that one filter of a Describe action compares with: several values of a resource are several chances to match. */
export type FilterValue = string | number | boolean | Date | undefined | null;

/** Filter name → the values of one described item. `tag:KEY`, `tag-key`, `tag-value` come from the mechanism when `tags` is given. */
export type Filters<Item> = Readonly<Record<string, (item: Item) => FilterValue | readonly FilterValue[]>>;

export interface ActionEntry<Name extends ActionName = ActionName, Codes extends ErrorCode = ErrorCode> {
  readonly name: Name;
  readonly doc: string;
  readonly roles: Permission;
  readonly errors: readonly Codes[];
  /** For the generated reference and the check of filter names. */
  readonly filters?: readonly string[];
  readonly handle: (call: Call<Codes>, input: InputOf<Name>) => Promise<OutputOf<Name>> | OutputOf<Name>;
}

/** The entry as the dispatcher holds it. */
export interface AnyAction {
  readonly name: string;
  readonly doc: string;
  readonly roles: Permission;
  readonly errors: readonly ErrorCode[];
  readonly filters?: readonly string[];
  readonly handle: (call: Call, input: unknown) => Promise<unknown> | unknown;
}

/** Declares an action. The compiler refuses an unknown name, role, field or error code. */
export function action<Name extends ActionName, const Codes extends ErrorCode>(entry: ActionEntry<Name, Codes>): AnyAction {
  return entry as unknown as AnyAction;
}

/** `call.fail` of every call. */
export function fail(code: ErrorCode, message: string): never {
  throw new ApiError(code, message);
}
