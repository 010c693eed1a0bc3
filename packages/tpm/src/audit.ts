/** Audit digests: what a TPM says it was asked and answered, computed again (Part 1, section 32). */
import { encode } from '@casemate/wire';
import type { Entity } from './authorization.js';
import { u32Bytes } from './bytes.js';
import type { AnyCommand } from './command.js';
import { TPM_RC } from './constants/responses.js';
import type { TpmHashes } from './crypto.js';
import { defaultHashes } from './default-crypto.js';
import { hashSize } from './hashes.js';
import { entityName } from './name.js';
import { PCR_BANKS, type PcrBank } from './pcr.js';
import { TpmError } from './response-code.js';

/** One command that a TPM performed, with what it answered; fields by their names in the specification. */
export interface AuditedCommand {
  /** The command. */
  readonly command: AnyCommand;
  /** Its handles and parameters, as they were given to {@link Tpm.execute}. Objects need their Names. */
  readonly request: Readonly<Record<string, unknown>>;
  /** Its response parameters, as {@link Tpm.execute} gave them. */
  readonly response: Readonly<Record<string, unknown>>;
}

/** How to hash. */
export interface AuditOptions {
  /** Hash of the session or of the command audit. Default `sha256`. */
  readonly hash?: PcrBank;
  /** Default: `defaultHashes`. */
  readonly hashes?: Pick<TpmHashes, 'hash'>;
}

/** The hash of a command: its code, the Names of its handles, and its parameters (Part 1, section 16.7). */
export function commandParameterHash(
  command: AnyCommand,
  request: AuditedCommand['request'],
  options: AuditOptions = {},
): Uint8Array {
  const names = command.handles.map(({ name }) => entityName(entityIn(request, name)));
  const { hash = 'sha256', hashes = defaultHashes } = options;
  return hashes.hash(PCR_BANKS[hash], u32Bytes(command.code), ...names, encode(command.parameters, request));
}

/** The hash of a successful response: its code, the command's, and the response parameters (Part 1, section 16.8). */
export function responseParameterHash(
  command: AnyCommand,
  response: AuditedCommand['response'],
  options: AuditOptions = {},
): Uint8Array {
  const { hash = 'sha256', hashes = defaultHashes } = options;
  const parameters = encode(command.response, response);
  return hashes.hash(PCR_BANKS[hash], u32Bytes(TPM_RC.SUCCESS), u32Bytes(command.code), parameters);
}

function entityIn(request: AuditedCommand['request'], name: string): Entity {
  const input = request[name];
  if (typeof input === 'number') return { handle: input };
  if (typeof input === 'object' && input !== null && 'handle' in input && typeof input.handle === 'number') {
    return input as Entity; // has a handle; its Name is checked where it is used
  }
  throw new TpmError('usage', `hash command: expected a handle for ${name}, got ${typeof input}`);
}

/**
 * The audit digest after these commands, from `start`, by default a digest of zeros as at the start of an audit. A TPM hashes
 * parameters as they are sent, so that this holds for commands in which no session encrypts any.
 */
export function extendAudit(
  commands: readonly AuditedCommand[],
  options: AuditOptions & { readonly start?: Uint8Array } = {},
): Uint8Array {
  const { hash = 'sha256', hashes = defaultHashes } = options;
  const start = options.start ?? new Uint8Array(hashSize(PCR_BANKS[hash]));
  return commands.reduce((digest, { command, request, response }) => {
    const asked = commandParameterHash(command, request, options);
    const answered = responseParameterHash(command, response, options);
    return hashes.hash(PCR_BANKS[hash], digest, asked, answered);
  }, start);
}
