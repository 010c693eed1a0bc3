/** The surroundings of one command: options as they were given, and the way to the TPM. */

import { TPM_CC } from '../constants/commands.js';
import { openRecordingFile, record } from '../recorder.js';
import { TpmError } from '../response-code.js';
import { Tpm } from '../tpm.js';
import type { TpmTransport } from '../transport.js';
import { connectTpm, parseAddress } from './address.js';
import type { Context } from './definition.js';
import { EXIT, Failure, usage } from './failure.js';
import { readSecret } from './secret-source.js';
import type { Style, Surroundings } from './terminal.js';

/** Option values as node:util's parseArgs gives them, `multiple` for all of them. */
export type OptionValues = Readonly<Record<string, readonly (string | boolean)[] | undefined>>;

/** Makes the context of a command. */
export function makeContext(
  surroundings: Surroundings,
  style: Style,
  positionals: readonly string[],
  values: OptionValues,
): Context {
  const texts = (name: string): readonly string[] => (values[name] ?? []).filter((value) => typeof value === 'string');
  const text = (name: string): string | undefined => texts(name).at(-1);
  const { env } = surroundings;
  return {
    surroundings,
    style,
    positionals,
    text,
    texts,
    has: (name) => values[name] !== undefined,
    async secret(name) {
      const file = text(`${name}-file`);
      const source = text(name);
      if (file !== undefined && source !== undefined) throw usage(`give one of --${name} and --${name}-file`);
      const from = source ?? (file === undefined ? undefined : file === '-' ? '-' : `file:${file}`);
      return from === undefined ? undefined : await readSecret(from, name, surroundings);
    },
    withTpm: (work) => {
      const address = text('tpm') ?? env.CASEMATE_TPM ?? env.TPM2TOOLS_TCTI ?? 'device:/dev/tpmrm0';
      return withTpm(surroundings, address, text('record'), timeoutOf(text('timeout')), work);
    },
    during: (what, work) => during(surroundings, what, work),
  };
}

function timeoutOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 3600) return seconds * 1000;
  throw usage(`--timeout: expected seconds, at most 3600, got "${text}"`);
}

async function withTpm<T>(
  surroundings: Surroundings,
  address: string,
  recording: string | undefined,
  timeout: number | undefined,
  work: (tpm: Tpm) => Promise<T>,
): Promise<T> {
  const sink = recording === undefined ? undefined : await openRecordingFile(recording);
  const connection = await connectTpm(parseAddress(address)).catch(async (error) => {
    await sink?.close?.();
    throw error;
  });
  const transport = interruptible(sink ? record(connection, sink) : connection);
  const stopListening = surroundings.onInterrupt(transport.interrupt);
  await using tpm = new Tpm(transport, timeout === undefined ? {} : { timeout });
  try {
    return await work(tpm);
  } catch (error) {
    throw transport.isInterrupted() ? new Failure(EXIT.INTERRUPTED, 'interrupted', undefined, error) : error;
  } finally {
    stopListening();
  }
}

interface Interruptible extends TpmTransport {
  readonly interrupt: () => void;
  readonly isInterrupted: () => boolean;
}

/**
 * After an interruption nothing more is sent but what frees the TPM's slots: whoever ends the program at once leaves its
 * objects and sessions in a TPM without resource manager. A second interruption ends it all the same.
 */
function interruptible(transport: TpmTransport): Interruptible {
  let interrupted = false;
  return {
    send(command, options) {
      if (interrupted && codeOf(command) !== TPM_CC.FlushContext) {
        return Promise.reject(new TpmError('closed', 'interrupted'));
      }
      return transport.send(command, options);
    },
    close: () => transport.close(),
    interrupt() {
      if (interrupted) process.exit(EXIT.INTERRUPTED);
      interrupted = true;
    },
    isInterrupted: () => interrupted,
  };
}

function codeOf(command: Uint8Array): number {
  return new DataView(command.buffer, command.byteOffset).getUint32(6);
}

/** A line on standard error that counts the seconds, once half a second has passed; only where that is a terminal. */
async function during<T>(surroundings: Surroundings, what: string, work: Promise<T>): Promise<T> {
  if (!surroundings.isTerminal.err) return await work;
  const start = Date.now();
  let shown = false;
  const timer = setInterval(() => {
    shown = true;
    surroundings.err(`\r${what} … ${Math.floor((Date.now() - start) / 1000)} s`);
  }, 500);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (shown) surroundings.err(`\r\u001b[K`);
  }
}
