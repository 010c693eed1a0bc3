/**
 * What a command of TPM 1.2 is: one value that describes request and response for both directions. TPM 1.2 Main Part 1,
 * clause 13; Part 3, clause 2.
 */
import { type Codec, type Fields, type StructCodec, type StructValue, struct } from '@casemate/wire';

/** The entity that an authorisation is about: what an OSAP session for it is opened with. */
export type AuthEntity =
  /** The owner of the TPM. */
  | { readonly kind: 'owner' }
  /** The key behind the handle of that name. */
  | { readonly kind: 'key'; readonly handle: string }
  /** The storage root key, in commands that name no handle. */
  | { readonly kind: 'srk' }
  /** The NV index in the parameter of that name. */
  | { readonly kind: 'nv'; readonly parameter: string }
  /** Something for which there is no OSAP session: data outside the TPM. */
  | { readonly kind: 'data' };

/** An authorisation that a command takes. */
export interface AuthField<N extends string = string, O extends boolean = boolean> {
  /** The name in the specification. */
  readonly name: N;
  /** Whether the command exists without it too. */
  readonly optional: O;
  /** Which sessions the TPM takes for it. */
  readonly protocol: 'oiap' | 'osap' | 'any';
  /** What it is about. */
  readonly entity: AuthEntity;
}

/**
 * New secrets among the parameters, encrypted by the authorisation named `auth` under the ADIP: `even` by the TPM's
 * nonce, `odd` by the caller's. TPM 1.2 Part 1, clause 13.4.
 */
export interface SecretFields {
  /** The name of the authorisation. */
  readonly auth: string;
  /** The name of the parameter that the TPM's nonce hides. */
  readonly even: string;
  /** The name of the parameter that the caller's nonce hides. */
  readonly odd?: string;
}

/** A command of TPM 1.2 with the types of its request and response. */
export interface Command12<
  H extends readonly string[] = readonly string[],
  P extends Fields = Fields,
  A extends readonly AuthField[] = readonly AuthField[],
  RH extends readonly string[] = readonly string[],
  R extends Fields = Fields,
> {
  /** The name in the specification, such as `TPM_Seal`. */
  readonly name: `TPM_${string}` | `TSC_${string}`;
  /** The ordinal, a member of `TPM_ORD`. */
  readonly ordinal: number;
  /** The names of the handles in front of the parameters; no authorisation covers them. */
  readonly handles: H;
  /** The parameters of the request, which authorisations cover. */
  readonly parameters: StructCodec<P>;
  /** The authorisations in wire order: none, one or two. */
  readonly auths: A;
  /** Which parameters are new secrets. */
  readonly secrets: SecretFields | undefined;
  /** The names of the handles in front of the response's parameters: none or one. */
  readonly responseHandles: RH;
  /** The parameters of the response. */
  readonly response: StructCodec<R>;
}

/** Any command of TPM 1.2, its types forgotten: for tables and dispatch. */
export interface AnyCommand12 {
  /** See {@link Command12.name}. */
  readonly name: `TPM_${string}` | `TSC_${string}`;
  /** See {@link Command12.ordinal}. */
  readonly ordinal: number;
  /** See {@link Command12.handles}. */
  readonly handles: readonly string[];
  /** See {@link Command12.parameters}. */
  readonly parameters: AnyStruct12;
  /** See {@link Command12.auths}. */
  readonly auths: readonly AuthField[];
  /** See {@link Command12.secrets}. */
  readonly secrets: SecretFields | undefined;
  /** See {@link Command12.responseHandles}. */
  readonly responseHandles: readonly string[];
  /** See {@link Command12.response}. */
  readonly response: AnyStruct12;
}

/** Any structure codec, its types forgotten. */
export interface AnyStruct12 extends Codec<Readonly<Record<string, unknown>>> {
  /** The fields in wire order. */
  readonly fields: Fields;
}

/** The names of those authorisations that a command cannot do without. */
export type RequiredAuthName<C extends AnyCommand12> = NameIf<C['auths'][number], false>;

/** The names of those authorisations that a command can do without. */
export type OptionalAuthName<C extends AnyCommand12> = NameIf<C['auths'][number], true>;

type NameIf<F, Wanted extends boolean> = F extends AuthField<infer N, infer O> ? (O extends Wanted ? N : never) : never;

/** The handles and parameters of a request in one flat object. */
export type CommandParameters12<C extends AnyCommand12> =
  C extends Command12<infer H, infer P, infer _A, infer _RH, infer _R>
    ? { readonly [N in H[number]]: number } & StructValue<P>
    : never;

/** The handles and parameters of a response in one flat object. */
export type CommandResponse12<C extends AnyCommand12> =
  C extends Command12<infer _H, infer _P, infer _A, infer RH, infer R>
    ? { readonly [N in RH[number]]: number } & StructValue<R>
    : never;

/** What {@link command12} makes a command from; what is left out is empty. */
export interface CommandDescription12<
  H extends readonly string[],
  P extends Fields,
  A extends readonly AuthField[],
  RH extends readonly string[],
  R extends Fields,
> {
  /** See {@link Command12.name}. */
  readonly name: `TPM_${string}` | `TSC_${string}`;
  /** See {@link Command12.ordinal}. */
  readonly ordinal: number;
  /** See {@link Command12.handles}. */
  readonly handles?: H;
  /** The fields of the request's parameters. */
  readonly parameters?: P;
  /** See {@link Command12.auths}. */
  readonly auths?: A;
  /** See {@link Command12.secrets}. */
  readonly secrets?: SecretFields;
  /** See {@link Command12.responseHandles}. */
  readonly responseHandles?: RH;
  /** The fields of the response's parameters. */
  readonly response?: R;
}

/** Makes a command of TPM 1.2 from its description; vendors' own commands can be made with it too. */
/* @__NO_SIDE_EFFECTS__ */
export function command12<
  const H extends readonly string[] = readonly [],
  const P extends Fields = Record<never, never>,
  const A extends readonly AuthField[] = readonly [],
  const RH extends readonly string[] = readonly [],
  const R extends Fields = Record<never, never>,
>(description: CommandDescription12<H, P, A, RH, R>): Command12<H, P, A, RH, R> {
  const { name, ordinal, secrets } = description;
  // What was left out is empty, and so are then the type parameters by their defaults.
  return {
    name,
    ordinal,
    handles: description.handles ?? ([] as readonly string[] as H),
    parameters: struct(name, description.parameters ?? ({} as P)),
    auths: description.auths ?? ([] as readonly AuthField[] as A),
    secrets,
    responseHandles: description.responseHandles ?? ([] as readonly string[] as RH),
    response: struct(name, description.response ?? ({} as R)),
  };
}

/** The authorisation of the owner. */
/* @__NO_SIDE_EFFECTS__ */
export function ownerAuth<const N extends string>(
  name: N,
  protocol: AuthField['protocol'] = 'any',
): AuthField<N, false> {
  return { name, optional: false, protocol, entity: { kind: 'owner' } };
}

/** The authorisation of the key behind a handle; keys can be made so that they need none. */
/* @__NO_SIDE_EFFECTS__ */
export function keyAuth<const N extends string>(
  name: N,
  handle: string,
  protocol: AuthField['protocol'] = 'any',
): AuthField<N, true> {
  return { name, optional: true, protocol, entity: { kind: 'key', handle } };
}

/** The same authorisation where the command does not exist without it. */
/* @__NO_SIDE_EFFECTS__ */
export function required<N extends string>(field: AuthField<N>): AuthField<N, false> {
  return { ...field, optional: false };
}

/** The same authorisation where the command exists without it too. */
/* @__NO_SIDE_EFFECTS__ */
export function optional<N extends string>(field: AuthField<N>): AuthField<N, true> {
  return { ...field, optional: true };
}
