/** The way of a command to its TPM. */
import { type BaseContext, EXIT, Failure, type Surroundings, usage } from '@casemate/command-line';
import { TPM_CC } from '../constants/commands.js';
import { openRecordingFile, record } from '../recorder.js';
import { TpmError } from '../response-code.js';
import { Tpm } from '../tpm.js';
import type { TpmTransport } from '../transport.js';
import { connectTpm, parseAddress } from './address.js';
import type { Context } from './definition.js';

/** Adds the way to the TPM to what every command gets. */
export function withWayToTpm(context: BaseContext): Context {
  const { surroundings, text } = context;
  const { env } = surroundings;
  return {
    ...context,
    withTpm: (work) => {
      const address = text('tpm') ?? env.CASEMATE_TPM ?? env.TPM2TOOLS_TCTI ?? 'device:/dev/tpmrm0';
      return withTpm(surroundings, address, text('record'), timeoutOf(text('timeout')), work);
    },
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
