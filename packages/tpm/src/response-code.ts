/**
 * What a response code means and which handle, session or parameter it blames. TPM 2.0 Part 1, clause 39; Part 2,
 * clause 6.6.
 */
import { WireError } from '@casemate/wire';
import { TPM_RC, TPM_RC_PART } from './constants/responses.js';

/** The part of a command that a TPM blames; `index` counts from 1 as in the specification. */
export interface ResponseOrigin {
  /** A parameter (1 to 15), a handle (1 to 7) or a session (1 to 7) of the command. */
  readonly kind: 'parameter' | 'handle' | 'session';
  /** Which one, counted from 1. */
  readonly index: number;
}

/** A response code taken apart. */
export interface ResponseCode {
  /** All 32 bits as they were received. */
  readonly code: number;
  /**
   * The name in the specification, such as `TPM_RC_BAD_AUTH`; the number in hexadecimal if the specification has none.
   */
  readonly name: string;
  /** The code without the bits of its origin and layer: compare it with a member of {@link TPM_RC}. */
  readonly number: number;
  /** What the TPM blames, or `undefined` where it blames nothing in particular. */
  readonly origin: ResponseOrigin | undefined;
  /** A warning leaves the TPM as it was, and the same command may succeed later. */
  readonly severity: 'success' | 'warning' | 'error';
  /** The software layer that made the code: 0 is the TPM itself, 11 the resource manager of the Linux kernel. */
  readonly layer: number;
  /** What it usually means, in one sentence. */
  readonly explanation: string;
}

/** Takes a response code apart. Never throws: a code outside the specification gets its number as its name. */
export function parseResponseCode(code: number): ResponseCode {
  const layer = (code >>> 16) & 0xff;
  const bits = code & 0xffff;
  const number = numberOf(bits);
  const name = names().get(number);
  return {
    code,
    name: name === undefined ? `0x${number.toString(16).padStart(3, '0')}` : `TPM_RC_${name}`,
    number,
    origin: originOf(bits),
    severity: severityOf(bits),
    layer,
    explanation: name === undefined ? unnamed(bits) : explanation(name),
  };
}

/**
 * The code that blames `origin` with `number`, a format-one member of {@link TPM_RC}; other numbers stand for
 * themselves. Throws `TpmError` (`usage`) for an index that a response code cannot hold.
 */
export function encodeResponseCode(number: number, origin?: ResponseOrigin): number {
  if (origin === undefined || !isFormatOne(number)) return number;
  const last = origin.kind === 'parameter' ? 15 : 7;
  if (!Number.isInteger(origin.index) || origin.index < 1 || origin.index > last) {
    const problem = `expected ${origin.kind} 1 to ${last}, got ${origin.index}`;
    throw new TpmError('usage', `encode response code: ${problem}`);
  }
  const index = origin.index << 8;
  if (origin.kind === 'parameter') return number | TPM_RC_PART.P | index;
  return origin.kind === 'session' ? number | TPM_RC_PART.S | index : number | index;
}

/** Text for people: name, number, origin and explanation. */
export function describeResponseCode(response: ResponseCode): string {
  const { name, code, origin, explanation } = response;
  const blamed = origin === undefined ? '' : `, ${origin.kind} ${origin.index}`;
  return `${name} (0x${code.toString(16).padStart(3, '0')}${blamed}): ${explanation}`;
}

/**
 * Why a call of this package failed.
 *
 * - `response`: the TPM refused the command; see {@link TpmError.response}
 * - `transport`: the way to the TPM failed
 * - `timeout`: the TPM did not answer in time
 * - `closed`: the transport was closed before the answer came
 * - `decode`: the bytes are no well-formed command or response
 * - `integrity`: the answer is well-formed but not authentic: an HMAC, a signature, a name or a digest does not match
 * - `usage`: the caller asked for something that cannot be
 */
export type TpmErrorCode = 'response' | 'transport' | 'timeout' | 'closed' | 'decode' | 'integrity' | 'usage';

/** What else a {@link TpmError} may carry. */
export interface TpmErrorDetails {
  /** The error that led to this one. */
  readonly cause?: unknown;
  /** The response code, all 32 bits: what the TPM answered, or what a TPM answers to bytes like these. */
  readonly responseCode?: number;
  /** The response code taken apart already, where it is not one of TPM 2.0; it goes before `responseCode`. */
  readonly response?: ResponseCode;
  /** Where in received bytes the fault is. Default: where `cause` has it, if that is a `WireError`. */
  readonly at?: { readonly path: string; readonly offset: number };
}

/** The one error class of this package; switch on {@link TpmError.code}. */
export class TpmError extends Error {
  /** Always `TpmError`. */
  override readonly name = 'TpmError';
  /** Why the call failed. */
  readonly code: TpmErrorCode;
  /**
   * The response code taken apart; always there when `code` is `response`, and for malformed commands the code that a
   * TPM answers.
   */
  readonly response: ResponseCode | undefined;
  /** For malformed bytes: the field at fault, from the outermost inwards, joined by `/`. */
  readonly path: string | undefined;
  /**
   * For malformed bytes: where, counted from the start of the response, or of its parameters where a session took part,
   * because those may have been decrypted.
   */
  readonly offset: number | undefined;

  /** `message` says verb, object, expected and got. */
  constructor(code: TpmErrorCode, message: string, details: TpmErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    this.code = code;
    const { responseCode } = details;
    this.response = details.response ?? (responseCode === undefined ? undefined : parseResponseCode(responseCode));
    const at = details.at ?? (details.cause instanceof WireError ? details.cause : undefined);
    this.path = at?.path;
    this.offset = at?.offset;
  }

  /**
   * The error for a command, named as in the specification, that the TPM answered with a response code other than
   * success.
   */
  static fromResponse(command: string, responseCode: number): TpmError {
    const message = `${command}: ${describeResponseCode(parseResponseCode(responseCode))}`;
    return new TpmError('response', message, { responseCode });
  }
}

function isFormatOne(bits: number): boolean {
  return (bits & TPM_RC_PART.RC_FMT1) !== 0;
}

function numberOf(bits: number): number {
  return isFormatOne(bits) ? bits & 0xbf : bits;
}

function originOf(bits: number): ResponseOrigin | undefined {
  if (!isFormatOne(bits)) return undefined;
  const index = (bits & TPM_RC_PART.N_MASK) >>> 8;
  if (index === 0) return undefined;
  if ((bits & TPM_RC_PART.P) !== 0) return { kind: 'parameter', index };
  if (index === 8) return undefined; // a session, but none in particular
  return index > 8 ? { kind: 'session', index: index - 8 } : { kind: 'handle', index };
}

function severityOf(bits: number): ResponseCode['severity'] {
  if (bits === TPM_RC.SUCCESS) return 'success';
  return !isFormatOne(bits) && (bits & TPM_RC_PART.RC_WARN) === TPM_RC_PART.RC_WARN ? 'warning' : 'error';
}

function unnamed(bits: number): string {
  if (isFormatOne(bits)) return 'The specification gives this number no meaning.';
  if ((bits & TPM_RC_PART.RC_VER1) === 0) return 'A TPM 1.2 answered.';
  return (bits & 0x400) === 0 ? 'The specification gives this number no meaning.' : 'The vendor of the TPM defines it.';
}

type Name = keyof typeof TPM_RC;
let nameByNumber: ReadonlyMap<number, Name> | undefined;

function names(): ReadonlyMap<number, Name> {
  // The keys of a const object are exactly its Names.
  nameByNumber ??= new Map((Object.keys(TPM_RC) as Name[]).map((name) => [TPM_RC[name], name]));
  return nameByNumber;
}

let explanations: Readonly<Record<Name, string>> | undefined;

/** The texts stand in a function, whose body costs little at the import, and few programs meet an error. */
function explanation(name: Name): string {
  explanations ??= {
    SUCCESS: 'The command did what it was asked to.',
    BAD_TAG: 'The first two bytes of the command are no tag that a TPM 2.0 knows.',
    INITIALIZE: 'Startup has not been run since the last reset, or it has been run already.',
    FAILURE: 'A self-test failed; until it is reset, the TPM only tells why.',
    SEQUENCE: 'The command takes no sequence, or comes at the wrong point of one.',
    PRIVATE: 'Not in use any more.',
    HMAC: 'Not in use any more.',
    DISABLED: 'The command is switched off.',
    EXCLUSIVE: 'The command needs an exclusive audit session, and another command came in between.',
    AUTH_TYPE: 'The kind of authorisation does not fit this handle.',
    AUTH_MISSING: 'A handle needs an authorisation, and the command carries no session for it.',
    POLICY: 'A comparison that the policy asks for does not hold, or the policy is malformed.',
    PCR: 'The PCR check failed.',
    PCR_CHANGED: 'A PCR changed after the policy session had checked it.',
    UPGRADE: 'The TPM is in field upgrade mode, or the upgrade data are wrong.',
    TOO_MANY_CONTEXTS: 'The counter of saved contexts is used up.',
    AUTH_UNAVAILABLE: 'The authorisation or policy of this entity cannot be used.',
    REBOOT: 'The TPM wants a reset before it goes on.',
    UNBALANCED: 'Hash and cipher of the protection differ in strength, and the TPM insists on a match.',
    COMMAND_SIZE: 'The size in the header is not the number of bytes that arrived.',
    COMMAND_CODE: 'The TPM does not implement this command.',
    AUTHSIZE: 'The size of the authorisation area is out of range, or does not match its sessions.',
    AUTH_CONTEXT: 'This command takes no sessions.',
    NV_RANGE: 'The offset and size reach past the end of the NV index.',
    NV_SIZE: 'The size is more than the NV index can have.',
    NV_LOCKED: 'The NV index is locked against this access.',
    NV_AUTHORIZATION: 'The NV index does not allow this access with this authorisation.',
    NV_UNINITIALIZED: 'The NV index has not been written yet, or at start-up the saved state is lost.',
    NV_SPACE: 'There is not enough NV memory.',
    NV_DEFINED: 'The NV index or persistent object is there already.',
    BAD_CONTEXT: 'The saved context is damaged or not acceptable now.',
    CPHASH: 'The policy session is bound to another command, name or parameter hash.',
    PARENT: 'The handle is no storage key, so it cannot be a parent.',
    NEEDS_TEST: 'An algorithm must be tested first.',
    NO_RESULT: 'The result cannot be computed, and nothing says why.',
    SENSITIVE: 'The sensitive area cannot be read after decryption: a wrong key or damaged data.',
    ASYMMETRIC: 'The asymmetric algorithm is not supported or not right here.',
    ATTRIBUTES: 'The attributes contradict each other, or do not allow this use.',
    HASH: 'The hash algorithm is not supported or not right here.',
    VALUE: 'The value is outside what is allowed here.',
    HIERARCHY: 'The hierarchy is disabled or not right for this object.',
    KEY_SIZE: 'The key size is not supported.',
    MGF: 'The mask generation function is not supported.',
    MODE: 'The mode of the cipher is not supported, or the handle is no sequence.',
    TYPE: 'The object is of the wrong type.',
    HANDLE: 'The handle is of the wrong kind, or nothing has this handle.',
    KDF: 'The key derivation function is not supported or not right here.',
    RANGE: 'The value is out of range.',
    AUTH_FAIL: 'The authorisation is wrong, and the failure counts towards lockout.',
    NONCE: 'The nonce is of the wrong size or value.',
    PP: 'Physical presence must be asserted.',
    SCHEME: 'The scheme does not fit the key, or is not supported.',
    SIZE: 'A size is wrong.',
    SYMMETRIC: 'The symmetric algorithm or key size is not supported or not right here.',
    TAG: 'A structure has the wrong tag.',
    SELECTOR: 'The selector of a union has no such member.',
    INSUFFICIENT: 'The bytes end before the value does.',
    SIGNATURE: 'The signature is not valid.',
    KEY: 'The fields of the key do not belong together.',
    POLICY_FAIL: 'A condition of the policy is not met, or the policy digest is another one.',
    INTEGRITY: 'The integrity check failed: a wrong parent, another TPM or damaged data.',
    TICKET: 'The ticket is not valid on this TPM now.',
    RESERVED_BITS: 'A bit is set that must be clear.',
    BAD_AUTH: 'The authorisation is wrong; the entity is exempt from lockout.',
    EXPIRED: 'The policy or ticket has expired.',
    POLICY_CC: 'The policy session allows another command only, or it is told of one that the TPM does not have.',
    BINDING: 'Public and sensitive area do not belong together.',
    CURVE: 'The curve is not supported.',
    ECC_POINT: 'The point is not on the curve.',
    CONTEXT_GAP: 'The oldest saved session is too old: load and save it before going on.',
    OBJECT_MEMORY: 'There is no room for another object: flush one, or save its context.',
    SESSION_MEMORY: 'There is no room for another loaded session: flush one, or save its context.',
    MEMORY: 'There is not enough memory.',
    SESSION_HANDLES: 'All session handles are taken: flush a session.',
    OBJECT_HANDLES: 'All object handles are taken: flush an object.',
    LOCALITY: 'The locality is not allowed here.',
    YIELDED: 'The TPM put the command off; send it again.',
    CANCELED: 'The command was cancelled.',
    TESTING: 'The TPM is testing itself.',
    REFERENCE_H0: 'Handle 1 refers to an object or session that is not loaded.',
    REFERENCE_H1: 'Handle 2 refers to an object or session that is not loaded.',
    REFERENCE_H2: 'Handle 3 refers to an object or session that is not loaded.',
    REFERENCE_H3: 'Handle 4 refers to an object or session that is not loaded.',
    REFERENCE_H4: 'Handle 5 refers to an object or session that is not loaded.',
    REFERENCE_H5: 'Handle 6 refers to an object or session that is not loaded.',
    REFERENCE_H6: 'Handle 7 refers to an object or session that is not loaded.',
    REFERENCE_S0: 'Session 1 of the command is not loaded.',
    REFERENCE_S1: 'Session 2 of the command is not loaded.',
    REFERENCE_S2: 'Session 3 of the command is not loaded.',
    REFERENCE_S3: 'Session 4 of the command is not loaded.',
    REFERENCE_S4: 'Session 5 of the command is not loaded.',
    REFERENCE_S5: 'Session 6 of the command is not loaded.',
    REFERENCE_S6: 'Session 7 of the command is not loaded.',
    NV_RATE: 'NV memory is written too often; wait and try again.',
    LOCKOUT: 'Too many wrong authorisations: the TPM is in dictionary attack lockout.',
    RETRY: 'The TPM was not able to start the command; send it again.',
    NV_UNAVAILABLE: 'NV memory cannot be written now.',
    NOT_USED: 'Never returned by a TPM.',
  };
  return explanations[name];
}
