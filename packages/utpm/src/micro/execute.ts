/** How a command becomes a response: Part 3, clause 5; Part 1, clause 18. */
import { u32Bytes } from '../bytes.js';
import { ATTEST_COMMANDS } from './attest.js';
import { assertAuthorized, closeEntries, decryptParameters, type Entry, heal, readEntries } from './authorization.js';
import type { Command } from './command.js';
import { TPM_CC, TPM_RC, TPM_ST } from './constants.js';
import { assertPresent } from './entity.js';
import { NV_COMMANDS } from './nv.js';
import { OBJECT_COMMANDS } from './object.js';
import { Input, Output, Refusal, refuse, refuseHandle } from './octets.js';
import { PCR_COMMANDS } from './pcr.js';
import { PLATFORM_COMMANDS } from './platform.js';
import { SESSION_COMMANDS } from './session.js';
import { type Micro, markDirty } from './state.js';

const MAX_COMMAND = 4096;

/** All commands, by code. */
export const COMMANDS: ReadonlyMap<number, Command> = new Map(
  [PLATFORM_COMMANDS, SESSION_COMMANDS, OBJECT_COMMANDS, ATTEST_COMMANDS, PCR_COMMANDS, NV_COMMANDS]
    .flat()
    .map((command) => [command.code, command]),
);

/** Runs one command; whoever sent it controls every byte. Never throws: what cannot be run is answered with a response code. */
export function execute(tpm: Micro, bytes: Uint8Array, locality: number): Uint8Array {
  try {
    return run(tpm, bytes, locality);
  } catch (error) {
    if (error instanceof Refusal) return respond(TPM_ST.NO_SESSIONS, error.code);
    // A defect, not a refusal: what it left behind cannot be trusted.
    tpm.hasFailed = true;
    return respond(TPM_ST.NO_SESSIONS, TPM_RC.FAILURE);
  }
}

function respond(tag: number, code: number, ...parts: readonly Uint8Array[]): Uint8Array {
  let size = 10;
  for (const part of parts) size += part.length;
  // A tag that cannot be told is answered in the form of TPM 1.2.
  const response = new Output(size)
    .u16(code === TPM_RC.BAD_TAG ? 0xc4 : tag)
    .u32(size)
    .u32(code);
  for (const part of parts) response.put(part);
  return response.bytes;
}

function run(tpm: Micro, bytes: Uint8Array, locality: number): Uint8Array {
  const input = new Input(bytes);
  const { tag, code } = readHeader(input);
  if (tpm.hasFailed && code !== TPM_CC.GetTestResult && code !== TPM_CC.GetCapability) refuse(TPM_RC.FAILURE);
  const command = tpm.commands.get(code) ?? refuse(TPM_RC.COMMAND_CODE);
  if (tpm.isStarted === (code === TPM_CC.Startup)) refuse(TPM_RC.INITIALIZE);
  if (tpm.isStarted) heal(tpm);
  const handles = readHandles(tpm, command, input);
  const area = tag === TPM_ST.SESSIONS ? new Input(readArea(command, input)) : undefined;
  const { roles, canDecrypt = false, canEncrypt = false } = command;
  const parameters = input.take(input.remaining);
  const incoming = { code, handles, roles, canDecrypt, canEncrypt, parameters };
  const entries: readonly Entry[] = area === undefined ? [] : readEntries(tpm, incoming, area);
  assertAuthorized(tpm, incoming, entries);
  if (command.isHarmless !== true) noteActivity(tpm);
  const plain = new Input(decryptParameters(tpm, parameters, entries));
  const result = command.run(tpm, { handles, input: plain, locality });
  const handle = result.handle === undefined ? [] : [u32Bytes(result.handle)];
  if (area === undefined) return respond(TPM_ST.NO_SESSIONS, TPM_RC.SUCCESS, ...handle, result.parameters);
  const closed = closeEntries(tpm, code, entries, result.parameters);
  const size = u32Bytes(closed.parameters.length);
  return respond(TPM_ST.SESSIONS, TPM_RC.SUCCESS, ...handle, size, closed.parameters, closed.area);
}

function readHeader(input: Input): { readonly tag: number; readonly code: number } {
  const { length } = input.bytes;
  if (length < 10) refuse(length < 2 ? TPM_RC.INSUFFICIENT : TPM_RC.COMMAND_SIZE);
  const tag = input.u16();
  if (tag !== TPM_ST.NO_SESSIONS && tag !== TPM_ST.SESSIONS) refuse(TPM_RC.BAD_TAG);
  if (input.u32() !== length || length > MAX_COMMAND) refuse(TPM_RC.COMMAND_SIZE);
  return { tag, code: input.u32() };
}

function readHandles(tpm: Micro, command: Command, input: Input): readonly number[] {
  return command.handles.map((kinds, position) => {
    try {
      const handle = input.u32();
      assertPresent(tpm, handle, kinds, position);
      return handle;
    } catch (error) {
      if (error instanceof Refusal) refuseHandle(error.code, position + 1);
      throw error;
    }
  });
}

function readArea({ isBare }: Command, input: Input): Uint8Array {
  const size = input.u32();
  if (size < 9 || size > input.remaining) refuse(TPM_RC.SIZE);
  if (isBare) refuse(TPM_RC.AUTH_CONTEXT);
  return input.take(size);
}

// From here on the TPM is no longer as its last shutdown left it.
function noteActivity(tpm: Micro): void {
  if (!tpm.permanent.isOrderly) return;
  tpm.permanent.isOrderly = false;
  markDirty(tpm);
}
