/** A transport that answers from a recording, for tests without a TPM. */
import { equalBytes, hex } from '../bytes.js';
import { commandByCode } from '../commands/table.js';
import { TpmError, type TpmErrorCode } from '../response-code.js';
import type { TpmTransport } from '../transport.js';
import { type Exchange, exchangesIn } from './exchange.js';
import type { Recording } from './recording.js';

/** How to replay. */
export interface ReplayOptions {
  /** `strict`: the same commands in the same order. `any`: each command takes the first exchange of its own not used yet. Default `strict`. */
  readonly order?: 'strict' | 'any';
}

/** A transport that answers from a recording. */
export interface ReplayTransport extends TpmTransport {
  /** How many of the recording's commands have not been sent yet. */
  readonly remaining: number;
}

/**
 * Answers the recorded commands with the recorded responses, and failures with failures of the same code; commands that the recording
 * left unanswered stand for nothing. Sessions draw nonces, so a replay of sessions needs a `TpmCrypto` whose `random` gives the same again.
 * `send` throws `TpmError` `transport` for any other command, and `closed` after `close`.
 */
export function replay(recording: Recording, options: ReplayOptions = {}): ReplayTransport {
  const { order = 'strict' } = options;
  const left = exchangesIn(recording.events).filter(({ response, error }) => response || error);
  let closed = false;
  let sent = 0;
  return {
    get remaining() {
      return left.length;
    },
    async send(command, { signal } = {}) {
      signal?.throwIfAborted();
      if (closed) throw new TpmError('closed', 'replay: the transport was closed');
      sent++;
      const index = order === 'any' ? left.findIndex((exchange) => isFor(exchange, command)) : 0;
      const exchange = left[index];
      if (!exchange || !isFor(exchange, command)) throw refusal(sent, order === 'any' ? undefined : exchange, command);
      left.splice(index, 1);
      if (exchange.response) return exchange.response.bytes.slice();
      throw failure(exchange);
    },
    async close() {
      closed = true;
    },
  };
}

function isFor(exchange: Exchange, command: Uint8Array): boolean {
  return exchange.command !== undefined && equalBytes(exchange.command.bytes, command);
}

function failure({ error }: Exchange): TpmError {
  const code = CODES.find((known) => known === error?.code) ?? 'transport';
  return new TpmError(code, `replay: ${error?.message}`);
}

function refusal(number: number, expected: Exchange | undefined, got: Uint8Array): TpmError {
  const wanted = expected?.command ? nameOf(expected.command.bytes) : 'no further command like it';
  return new TpmError('transport', `replay command ${number}: expected ${wanted}, got ${nameOf(got)}`);
}

/** Only the start: the rest may hold secrets. */
function nameOf(command: Uint8Array): string {
  const code = command.length < 10 ? 0 : new DataView(command.buffer, command.byteOffset).getUint32(6);
  const name = commandByCode.get(code)?.name ?? `command 0x${code.toString(16)}`;
  return `${name} (${hex(command.subarray(0, 10))}…, ${command.length} bytes)`;
}

const CODES: readonly TpmErrorCode[] = ['transport', 'timeout', 'closed', 'decode', 'integrity', 'usage'];
