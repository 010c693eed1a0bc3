/** The authorisations of one command and of its response: HMACs and parameter encryption (Part 1, sections 17 to 19 and 21). */
import type { Authorization, Entity } from './authorization.js';
import { concat, u16Bytes, u32Bytes } from './bytes.js';
import { type AnyCommand, isFirstParameterSized } from './command.js';
import { TPMA_SESSION } from './constants/attributes.js';
import { TPM_CC } from './constants/commands.js';
import { TPM_RH, TPM_RS } from './constants/handles.js';
import type { CommandFrame, ResponseFrame } from './framing.js';
import { entityName } from './name.js';
import { TpmError } from './response-code.js';
import type { Session, SessionAttributes, SessionUse } from './session.js';
import type { TpmsAuthCommand } from './structures/sessions.js';

/** One place in the authorisation area: who takes it, and which handle it authorises. */
export type AuthorizationSlot =
  | { readonly kind: 'password'; readonly value: Uint8Array }
  | {
      readonly kind: 'session';
      readonly session: Session;
      /** The attributes as they are sent. */
      readonly attributes: number;
      /** The entity that it authorises; none where it only audits or encrypts. */
      readonly entity: Entity | undefined;
    };

type SessionSlot = Extract<AuthorizationSlot, { readonly kind: 'session' }>;

/** A command that is ready to be sent except for nonces, HMACs and encryption. */
export interface CommandPlan {
  /** The command. */
  readonly command: AnyCommand;
  /** The entities behind its handles, in wire order. */
  readonly entities: readonly Entity[];
  /** The encoded parameters in the clear. */
  readonly parameters: Uint8Array;
  /** Who authorises, in wire order. */
  readonly slots: readonly AuthorizationSlot[];
  /** The value that the entity of the first slot has after the command, where the command changes it. */
  readonly newAuth: Uint8Array | undefined;
}

/** The slots for the handles that need authorisation and for `extra` sessions. Throws `TpmError` `usage`. */
export function planSlots(
  command: AnyCommand,
  entities: readonly Entity[],
  extra: readonly SessionUse[],
): readonly AuthorizationSlot[] {
  const authorised = entities.filter((_, i) => command.handles[i]?.auth !== 'none');
  if (authorised.length + extra.length === 0) return NONE;
  const wanted: readonly Wanted[] = [
    ...authorised.map((entity) => ({ entity, by: entity.auth ?? passwordOf(entity) })),
    ...extra.map((by) => ({ entity: undefined, by })),
  ];
  assertPossible(command, wanted);
  const passwords = wanted.flatMap(({ by }) => (by.kind === 'password' ? [by] : []));
  if (passwords.length === wanted.length) return passwords;
  const decrypt = isFirstParameterSized(command.parameters) ? firstWith(wanted, 'decrypt') : -1;
  const encrypt = isFirstParameterSized(command.response) ? firstWith(wanted, 'encrypt') : -1;
  const audit = roleless(wanted, [decrypt, encrypt]);
  return wanted.map(({ entity, by }, i) => {
    if (by.kind === 'password') return by;
    const attributes = attributeBits(by, { decrypt: i === decrypt, encrypt: i === encrypt, audit: i === audit });
    return { kind: 'session', session: by.session, attributes, entity };
  });
}

/** The passwords of a command as they are sent; `undefined` where a session is among the authorisations. */
export function passwordAuths(slots: readonly AuthorizationSlot[]): readonly TpmsAuthCommand[] | undefined {
  const auths: TpmsAuthCommand[] = [];
  for (const slot of slots) {
    if (slot.kind === 'session') return undefined;
    auths.push(passwordAuth(slot.value));
  }
  return auths;
}

/** Throws `TpmError` `integrity` unless a response answers each authorisation of its command. */
export function assertAuthCount(command: AnyCommand, expected: number, got: number): void {
  if (got !== expected) throw integrity(command, `expected ${expected} authorisations, got ${got}`);
}

/** Draws nonces, encrypts, and computes every HMAC: the frame to send. Sessions are changed by it, so it runs under the lock. */
export function authorise(plan: CommandPlan): CommandFrame {
  const { command, slots } = plan;
  const sessions = slots.filter(isSessionSlot);
  const nonces = new Map(sessions.map(({ session }) => [session, session.beginCommand()]));
  const parameters = encryptFirst(plan, sessions);
  const handles = plan.entities.map(({ handle }) => handle);
  const names = sessions.length > 0 ? plan.entities.map(entityName) : [];
  const others = otherNonces(slots);
  const auths = slots.map((slot, i): TpmsAuthCommand => {
    if (slot.kind === 'password') return passwordAuth(slot.value);
    const { session, attributes, entity } = slot;
    const digest = session.digest(u32Bytes(command.code), ...names, parameters);
    const hmac = session.commandHmac({ digest, attributes, entity, otherNonces: i === 0 ? others : [] });
    const nonce = nonces.get(session) ?? EMPTY;
    return { sessionHandle: session.handle, nonce, sessionAttributes: attributes, hmac };
  });
  return { code: command.code, handles, auths, parameters };
}

/** Checks every HMAC of a successful response and decrypts: its parameters in the clear. Throws `TpmError` `integrity`. */
export function acceptResponse(plan: CommandPlan, response: ResponseFrame): Uint8Array {
  const { command, slots } = plan;
  assertAuthCount(command, slots.length, response.auths.length);
  let { parameters } = response;
  const digestOf = (session: Session): Uint8Array =>
    session.digest(u32Bytes(response.responseCode), u32Bytes(command.code), response.parameters);
  slots.forEach((slot, i) => {
    const auth = response.auths[i];
    if (slot.kind === 'password' || !auth) return;
    const entity = entityAfter(plan, i, slot);
    const input = { digest: digestOf(slot.session), attributes: auth.sessionAttributes, entity };
    slot.session.acceptNonce(auth.nonce);
    if (!slot.session.isResponseHmac(input, auth.hmac))
      throw integrity(command, `the HMAC of session ${i + 1} is wrong`);
    const { session } = slot;
    if ((slot.attributes & TPMA_SESSION.encrypt) !== 0) {
      parameters = replaceFirst(parameters, (data) => session.decryptParameter(data, entity));
    }
  });
  slots.forEach((slot, i) => {
    // The TPM's word counts, now that its HMAC is checked: a command may end a session that was to continue.
    const answered = response.auths[i]?.sessionAttributes ?? 0;
    if (slot.kind === 'session') slot.session.noteUse((answered & TPMA_SESSION.continueSession) !== 0);
  });
  return parameters;
}

/** Marks the sessions of a command whose outcome is not known: TPM and caller may differ about their nonces. */
export function loseSessions(plan: CommandPlan): void {
  for (const { session } of plan.slots.filter(isSessionSlot)) session.noteEnd('lost');
}

/**
 * The authorization value that the first authorised entity has once the command has succeeded, where the command
 * changes it: the response's HMAC is computed with that one (Part 1, section 19.6.5; Part 3 of each command).
 */
export function authAfterCommand(code: number, request: Readonly<Record<string, unknown>>, first: Entity | undefined) {
  const changed = code === TPM_CC.HierarchyChangeAuth || code === TPM_CC.NV_ChangeAuth;
  if (changed && request.newAuth instanceof Uint8Array) return request.newAuth;
  if (code === TPM_CC.PCR_SetAuthValue && request.auth instanceof Uint8Array) return request.auth;
  if (code === TPM_CC.Clear && first?.handle === TPM_RH.LOCKOUT) return EMPTY;
  if (code === TPM_CC.NV_UndefineSpaceSpecial) return EMPTY;
  return undefined;
}

interface Wanted {
  readonly entity: Entity | undefined;
  readonly by: Authorization;
}

function passwordOf(entity: Entity): Authorization {
  return { kind: 'password', value: entity.authValue ?? EMPTY };
}

function assertPossible(command: AnyCommand, wanted: readonly Wanted[]): void {
  const sessions = wanted.flatMap(({ by }) => (by.kind === 'session' ? [by.session] : []));
  const problem = problemOf(command, wanted.length, sessions);
  if (problem !== undefined) throw new TpmError('usage', `authorise ${command.name}: ${problem}`);
}

function problemOf(command: AnyCommand, count: number, sessions: readonly Session[]): string | undefined {
  if (count > 0 && command.sessions === 'never') return 'the command takes no sessions';
  if (count > 3) return `expected at most 3 authorisations, got ${count}`;
  if (new Set(sessions).size < sessions.length) return 'expected each session once, got one twice';
  if (sessions.some(({ type }) => type === 'trial')) return 'a trial session only computes a policy digest';
  return undefined;
}

function firstWith(wanted: readonly Wanted[], attribute: 'decrypt' | 'encrypt'): number {
  return wanted.findIndex(({ by }) => by.kind === 'session' && by.attributes[attribute] === true);
}

/** The first session that has nothing to do in this command: a TPM takes it only as an audit session. */
function roleless(wanted: readonly Wanted[], taken: readonly number[]): number {
  const isAudited = wanted.some(({ by }) => by.kind === 'session' && by.attributes.audit);
  if (isAudited) return -1;
  return wanted.findIndex(({ by, entity }, i) => by.kind === 'session' && !entity && !taken.includes(i));
}

interface Roles {
  readonly decrypt: boolean;
  readonly encrypt: boolean;
  readonly audit: boolean;
}

function attributeBits(use: SessionUse, roles: Roles): number {
  const { decrypt, encrypt } = roles;
  const audit = roles.audit || use.attributes.audit === true;
  const chosen: SessionAttributes = { continueSession: true, ...use.attributes, decrypt, encrypt, audit };
  return ATTRIBUTES.reduce((bits, name) => (chosen[name] ? bits | TPMA_SESSION[name] : bits), 0);
}

function encryptFirst(plan: CommandPlan, sessions: readonly SessionSlot[]): Uint8Array {
  const slot = sessions.find(({ attributes }) => (attributes & TPMA_SESSION.decrypt) !== 0);
  if (!slot) return plan.parameters;
  return replaceFirst(plan.parameters, (data) => slot.session.encryptParameter(data, slot.entity));
}

/** Replaces the contents of the sized buffer that comes first; its size stays in the clear. */
function replaceFirst(parameters: Uint8Array, change: (data: Uint8Array) => Uint8Array): Uint8Array {
  const size = ((parameters[0] ?? 0) << 8) | (parameters[1] ?? 0);
  if (parameters.length < 2 + size) {
    const at = { path: 'parameters', offset: parameters.length };
    throw new TpmError('decode', `decrypt parameter: expected ${size} bytes, got ${parameters.length - 2}`, { at });
  }
  return concat(u16Bytes(size), change(parameters.slice(2, 2 + size)), parameters.subarray(2 + size));
}

/** nonceTPM of the sessions that encrypt, where they are not the first: this keeps them from being stripped off. */
function otherNonces(slots: readonly AuthorizationSlot[]): readonly Uint8Array[] {
  const first = slots[0];
  if (first?.kind !== 'session' || !first.entity) return [];
  const find = (bit: number) => slots.filter(isSessionSlot).find(({ attributes }) => (attributes & bit) !== 0)?.session;
  const sessions = new Set([find(TPMA_SESSION.decrypt), find(TPMA_SESSION.encrypt)]);
  return [...sessions].flatMap((session) => (session && session !== first.session ? [session.nonceTpm] : []));
}

function passwordAuth(value: Uint8Array): TpmsAuthCommand {
  const sessionAttributes = TPMA_SESSION.continueSession;
  return { sessionHandle: TPM_RS.PW, nonce: EMPTY, sessionAttributes, hmac: value };
}

function entityAfter(plan: CommandPlan, index: number, slot: SessionSlot): Entity | undefined {
  if (index !== 0 || !slot.entity || !plan.newAuth) return slot.entity;
  return { ...slot.entity, name: entityName(slot.entity), authValue: plan.newAuth };
}

function integrity(command: AnyCommand, problem: string): TpmError {
  return new TpmError('integrity', `check response to ${command.name}: ${problem}`);
}

function isSessionSlot(slot: AuthorizationSlot): slot is SessionSlot {
  return slot.kind === 'session';
}

const ATTRIBUTES = ['continueSession', 'auditExclusive', 'auditReset', 'decrypt', 'encrypt', 'audit'] as const;
const NONE: readonly never[] = [];
const EMPTY = new Uint8Array(0);
