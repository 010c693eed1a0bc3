/** Mutated real responses, and commands, through the decoders: only `TpmError` and `WireError`, and what decodes encodes to the same bytes. */
import { readFileSync } from 'node:fs';
import { decode, encode, WireError } from '@casemate/wire';
import type { FuzzTarget, Random } from '../../../scripts/fuzz-loop.mjs';
import {
  type AnyCommand,
  commandByCode,
  decodeAnswer,
  decodeCommand,
  decodeResponse,
  encodeCommand,
  encodeResponse,
  TPM_RC,
  TpmError,
} from '../src/index.js';
import { mutate } from './mutate.js';

interface Exchange {
  readonly command: Uint8Array;
  readonly response: Uint8Array;
}

/** What `npm run fuzz -- tpm decoder` runs. */
export const target: FuzzTarget = {
  async open() {
    const exchanges = recorded();
    return {
      run: (random) => {
        const exchange = random.pick(exchanges);
        return random.oneIn(4) ? fuzzCommand(exchange.command, random) : fuzzResponse(exchange, random);
      },
      close: async () => undefined,
    };
  },
};

function recorded(): readonly Exchange[] {
  const file = readFileSync(new URL('../test/vectors/swtpm-traffic.json', import.meta.url), 'utf8');
  const exchanges: readonly { readonly command: string; readonly response: string }[] = JSON.parse(file);
  const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));
  return exchanges.map(({ command, response }) => ({ command: bytes(command), response: bytes(response) }));
}

function fuzzResponse(exchange: Exchange, random: Random): string {
  const command = commandOf(exchange.command);
  // The response of another command now and then: a TPM may answer with anything.
  const asked = random.oneIn(8) ? random.pick([...commandByCode.values()]) : command;
  const bytes = mutate(exchange.response, random);
  return outcome('response', () => {
    const frame = decodeResponse(asked, bytes);
    if (frame.responseCode !== TPM_RC.SUCCESS) {
      assertSame(encodeResponse(frame).subarray(2), bytes.subarray(2), asked.name); // the tag may be a TPM 1.2's
      return 'refusal';
    }
    assertSame(encodeResponse(frame), bytes, asked.name);
    const parameters = decode(asked.response, frame.parameters);
    assertSame(encode(asked.response, parameters), frame.parameters, asked.name);
    decodeAnswer(asked, bytes);
    return 'response';
  });
}

function fuzzCommand(original: Uint8Array, random: Random): string {
  const bytes = mutate(original, random);
  return outcome('command', () => {
    const frame = decodeCommand(bytes, (code) => commandByCode.get(code));
    assertSame(encodeCommand(frame), bytes, 'the command');
    const command = commandByCode.get(frame.code);
    if (command) {
      const parameters = decode(command.parameters, frame.parameters);
      assertSame(encode(command.parameters, parameters), frame.parameters, command.name);
    }
    return 'command';
  });
}

/** The word for the statistics. Errors of this package and of wire are outcomes; anything else is a finding. */
function outcome(what: string, work: () => string): string {
  try {
    return `${work()} decoded`;
  } catch (error) {
    if (error instanceof WireError) return `${what} ${error.code}`;
    if (!(error instanceof TpmError) || error.code !== 'decode') throw error;
    if (what === 'response' && error.offset === undefined) throw error; // a fault in a response has its place
    return `${what} ${error.code}`;
  }
}

function assertSame(encoded: Uint8Array, bytes: Uint8Array, name: string): void {
  if (Buffer.compare(encoded, bytes) === 0) return;
  throw new Error(`${name}: ${hex(bytes)} decodes, but encodes to ${hex(encoded)}`);
}

function commandOf(bytes: Uint8Array): AnyCommand {
  const command = commandByCode.get(new DataView(bytes.buffer, bytes.byteOffset).getUint32(6));
  if (!command) throw new Error('the recorded command is unknown');
  return command;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(0, 100)).toString('hex');
}
