/**
 * What a command is: one value that describes request and response for both directions. TPM 2.0 Part 1, clause 18; Part
 * 3, clause 4.
 */
import { type Codec, type Fields, type StructCodec, type StructValue, struct } from '@casemate/wire';

/**
 * Who must authorise the use of a handle: nobody, its user, its administrator, or who may duplicate it. TPM 2.0 Part 1,
 * clause 19.2.
 */
export type AuthRole = 'none' | 'user' | 'admin' | 'dup';

/** A handle of a request. */
export interface HandleField<N extends string = string, A extends AuthRole = AuthRole> {
  /** The field's name in the specification, without the `@` that marks an authorisation. */
  readonly name: N;
  /** Checks that the handle is of an allowed kind. */
  readonly codec: Codec<number>;
  /** The authorisation that it needs; handles that need one come first. */
  readonly auth: A;
}

/** A handle of a response. */
export interface ResponseHandleField<N extends string = string> {
  /** The field's name in the specification. */
  readonly name: N;
  /** Checks that the handle is of an allowed kind. */
  readonly codec: Codec<number>;
}

/** What running a command does besides answering. TPM 2.0 Part 2, table 37, bits 22 to 24. */
export interface CommandEffects {
  /** It may write NV memory. */
  readonly nv: boolean;
  /** It may flush many transient objects. */
  readonly extensive: boolean;
  /** It flushes the handles that it was given. */
  readonly flushed: boolean;
}

/** A command with the types of its request and response. */
export interface Command<
  H extends readonly HandleField[] = readonly HandleField[],
  P extends Fields = Fields,
  RH extends readonly ResponseHandleField[] = readonly ResponseHandleField[],
  R extends Fields = Fields,
> {
  /** The name in the specification, such as `TPM2_PCR_Extend`. */
  readonly name: `TPM2_${string}`;
  /** The command code, a member of `TPM_CC`. */
  readonly code: number;
  /** Whether sessions may come with it: `never`, `allowed`, or `required` because a handle needs an authorisation. */
  readonly sessions: 'never' | 'allowed' | 'required';
  /** What running it does besides answering. */
  readonly effects: CommandEffects;
  /** The handles of the request, in wire order. */
  readonly handles: H;
  /** The parameters of the request. */
  readonly parameters: StructCodec<P>;
  /** The handles of the response: none or one. */
  readonly responseHandles: RH;
  /** The parameters of the response. */
  readonly response: StructCodec<R>;
}

/** Any command, its types forgotten: for tables and dispatch. */
export interface AnyCommand {
  /** See {@link Command.name}. */
  readonly name: `TPM2_${string}`;
  /** See {@link Command.code}. */
  readonly code: number;
  /** See {@link Command.sessions}. */
  readonly sessions: 'never' | 'allowed' | 'required';
  /** See {@link Command.effects}. */
  readonly effects: CommandEffects;
  /** See {@link Command.handles}. */
  readonly handles: readonly HandleField[];
  /** See {@link Command.parameters}. */
  readonly parameters: AnyStruct;
  /** See {@link Command.responseHandles}. */
  readonly responseHandles: readonly ResponseHandleField[];
  /** See {@link Command.response}. */
  readonly response: AnyStruct;
}

/** Any structure codec, its types forgotten. */
export interface AnyStruct extends Codec<Readonly<Record<string, unknown>>> {
  /** The fields in wire order. */
  readonly fields: Fields;
}

/** The names of a command's handles. */
export type HandleName<C extends AnyCommand> = C['handles'][number]['name'];

/** The names of those handles of a command that need an authorisation. */
export type AuthHandleName<C extends AnyCommand> = NameUnlessPlain<C['handles'][number]>;

type NameUnlessPlain<F> = F extends HandleField<infer N, infer A> ? (A extends 'none' ? never : N) : never;

/** The handles of a request as plain numbers. */
export type RequestHandles<C extends AnyCommand> = { readonly [N in HandleName<C>]: number };

/** The parameters of a request. */
export type RequestParameters<C extends AnyCommand> =
  C extends Command<infer _H, infer P, infer _RH, infer _R> ? StructValue<P> : never;

/** The handles of a response. */
export type ResponseHandles<C extends AnyCommand> = { readonly [N in C['responseHandles'][number]['name']]: number };

/** The parameters of a response. */
export type ResponseParameters<C extends AnyCommand> =
  C extends Command<infer _H, infer _P, infer _RH, infer R> ? StructValue<R> : never;

/** A request in one flat object: handles as plain numbers, and parameters. */
export type CommandRequest<C extends AnyCommand> = RequestHandles<C> & RequestParameters<C>;

/** A response in one flat object: handles and parameters. */
export type CommandResponse<C extends AnyCommand> = ResponseHandles<C> & ResponseParameters<C>;

/** A handle that needs no authorisation. */
/* @__NO_SIDE_EFFECTS__ */
export function plain<const N extends string>(name: N, codec: Codec<number>): HandleField<N, 'none'> {
  return { name, codec, auth: 'none' };
}

/** A handle that its user authorises. */
/* @__NO_SIDE_EFFECTS__ */
export function user<const N extends string>(name: N, codec: Codec<number>): HandleField<N, 'user'> {
  return { name, codec, auth: 'user' };
}

/** A handle that its administrator authorises. */
/* @__NO_SIDE_EFFECTS__ */
export function admin<const N extends string>(name: N, codec: Codec<number>): HandleField<N, 'admin'> {
  return { name, codec, auth: 'admin' };
}

/** A handle whose policy must allow its duplication. */
/* @__NO_SIDE_EFFECTS__ */
export function dup<const N extends string>(name: N, codec: Codec<number>): HandleField<N, 'dup'> {
  return { name, codec, auth: 'dup' };
}

/** A handle of a response. */
/* @__NO_SIDE_EFFECTS__ */
export function returned<const N extends string>(name: N, codec: Codec<number>): ResponseHandleField<N> {
  return { name, codec };
}

/** What {@link command} makes a command from; what is left out is empty. */
export interface CommandDescription<
  H extends readonly HandleField[],
  P extends Fields,
  RH extends readonly ResponseHandleField[],
  R extends Fields,
> {
  /** See {@link Command.name}. */
  readonly name: `TPM2_${string}`;
  /** See {@link Command.code}. */
  readonly code: number;
  /** `never` for the few commands that refuse every session. */
  readonly sessions?: 'never';
  /** See {@link Command.effects}; those left out are false. */
  readonly effects?: Partial<CommandEffects>;
  /** See {@link Command.handles}. */
  readonly handles?: H;
  /** The fields of the request's parameters. */
  readonly parameters?: P;
  /** See {@link Command.responseHandles}. */
  readonly responseHandles?: RH;
  /** The fields of the response's parameters. */
  readonly response?: R;
}

/** Makes a command from its description; vendors' own commands can be made with it too. */
/* @__NO_SIDE_EFFECTS__ */
export function command<
  const H extends readonly HandleField[] = readonly [],
  const P extends Fields = Record<never, never>,
  const RH extends readonly ResponseHandleField[] = readonly [],
  const R extends Fields = Record<never, never>,
>(description: CommandDescription<H, P, RH, R>): Command<H, P, RH, R> {
  const { name, code, effects } = description;
  // What was left out is empty, and so are then the type parameters by their defaults.
  const handles = description.handles ?? ([] as readonly HandleField[] as H);
  const responseHandles = description.responseHandles ?? ([] as readonly ResponseHandleField[] as RH);
  return {
    name,
    code,
    sessions: description.sessions ?? (handles.some(({ auth }) => auth !== 'none') ? 'required' : 'allowed'),
    effects: { nv: false, extensive: false, flushed: false, ...effects },
    handles,
    parameters: struct(name, description.parameters ?? ({} as P)),
    responseHandles,
    response: struct(name, description.response ?? ({} as R)),
  };
}

/**
 * A command of the specification, made from its description when somebody first looks at more of it than name and code:
 * who imports this package loads 122 and uses a few.
 */
/* @__NO_SIDE_EFFECTS__ */
export function specified<
  const H extends readonly HandleField[] = readonly [],
  const P extends Fields = Record<never, never>,
  const RH extends readonly ResponseHandleField[] = readonly [],
  const R extends Fields = Record<never, never>,
>(
  name: `TPM2_${string}`,
  code: number,
  describe: () => Omit<CommandDescription<H, P, RH, R>, 'name' | 'code'>,
): Command<H, P, RH, R> {
  const made = Object.defineProperties({ name, code }, LATER) as Command<H, P, RH, R> & Specified; // LATER has the rest
  made[MADE] = () => command({ name, code, ...describe() });
  return made;
}

const MADE = /* @__PURE__ */ Symbol('made');

interface Specified {
  /** The whole command, or what makes it. */
  [MADE]: AnyCommand | (() => AnyCommand);
}

function whole(specified: Specified): AnyCommand {
  if (typeof specified[MADE] === 'function') specified[MADE] = specified[MADE]();
  return specified[MADE];
}

/** Shared by all commands, and not written into each, so that all have one hidden class in JavaScript engines. */
const LATER: PropertyDescriptorMap & ThisType<Specified> = {
  [MADE]: { writable: true },
  sessions: {
    enumerable: true,
    get() {
      return whole(this).sessions;
    },
  },
  effects: {
    enumerable: true,
    get() {
      return whole(this).effects;
    },
  },
  handles: {
    enumerable: true,
    get() {
      return whole(this).handles;
    },
  },
  parameters: {
    enumerable: true,
    get() {
      return whole(this).parameters;
    },
  },
  responseHandles: {
    enumerable: true,
    get() {
      return whole(this).responseHandles;
    },
  },
  response: {
    enumerable: true,
    get() {
      return whole(this).response;
    },
  },
};

/**
 * Whether the first parameter is a sized buffer, the only kind that a session can encrypt. TPM 2.0 Part 1, clause 21.
 */
export function isFirstParameterSized(parameters: AnyStruct): boolean {
  const first = Object.values(parameters.fields)[0];
  return first !== undefined && 'name' in first && first.name.startsWith('TPM2B_');
}
