/** How the use of a handle is authorised, and what a handle is to a command (Part 1, sections 16 and 19). */
import type { SessionUse } from './session.js';

/** An authorization value sent in the clear (Part 1, section 19.4). */
export interface Password {
  /** Tag. */
  readonly kind: 'password';
  /** The authorization value. */
  readonly value: Uint8Array;
}

/** A password, or a session that proves knowledge of the value or satisfaction of a policy. */
export type Authorization = Password | SessionUse;

/** Something in the TPM that a handle stands for. */
export interface Entity {
  /** The TPM's number for it. */
  readonly handle: number;
  /** Its Name (Part 1, section 16). Needed wherever a session other than a password covers the command. */
  readonly name?: Uint8Array | undefined;
  /** Its authorization value; taken as the password, or into the HMAC key of a session. Default empty. */
  readonly authValue?: Uint8Array | undefined;
  /** How to authorise its use. Default: its `authValue` as the password. */
  readonly auth?: Authorization | undefined;
}

/** A handle argument of a command: the bare number where the empty password and no Name will do. */
export type HandleInput = number | Entity;

/** Makes a password authorisation; a string stands for its UTF-8 bytes. */
export function password(value: Uint8Array | string): Password {
  return { kind: 'password', value: authBytes(value) };
}

/** An authorization value as bytes; a string stands for its UTF-8 bytes. */
export function authBytes(value: Uint8Array | string = ''): Uint8Array {
  return typeof value === 'string' ? new TextEncoder().encode(value) : value;
}

/** A bare number as an entity; other input as it is. */
export function toEntity(input: HandleInput): Entity {
  return typeof input === 'number' ? { handle: input } : input;
}
