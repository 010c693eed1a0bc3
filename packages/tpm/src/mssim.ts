/** Transport to the Microsoft simulator's TCP protocol, which tpm_server, go-tpm's and IBM's tools speak too. */
import { concat, u32At, u32Bytes } from './bytes.js';
import { TpmError } from './response-code.js';
import { MAX_RESPONSE } from './response-length.js';
import { Stream } from './stream.js';
import type { TpmTransport } from './transport.js';

/** Where the simulator listens and how to start it. */
export interface MssimAddress {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** The port for TPM commands. */
  readonly port: number;
  /** The port for platform signals. Default: the next one. */
  readonly platformPort?: number;
  /** The locality of the commands, 0 to 4. Default 0. */
  readonly locality?: number;
  /** Signal power and NV on, as a platform does at its start; they do nothing to a TPM that is on. Default true. */
  readonly powerOn?: boolean;
}

/** Connects to a simulator. Throws `TpmError` `closed` where nobody answers, `transport` where a signal is refused. */
export async function connectMssim(address: MssimAddress): Promise<TpmTransport> {
  const { port, platformPort = port + 1, locality = 0, powerOn = true } = address;
  const host = address.host ?? '127.0.0.1';
  if (powerOn) await signalPlatform(host, platformPort, [SIGNAL.POWER_ON, SIGNAL.NV_ON]);
  const stream = new Stream({ host, port });
  await stream.open();
  return {
    async send(command, options) {
      const header = concat(u32Bytes(SIGNAL.SEND_COMMAND), Uint8Array.of(locality), u32Bytes(command.length));
      const reply = await stream.exchange(concat(header, command), replyLength, options?.signal);
      return reply.slice(4, -4);
    },
    close: () => stream.close(),
  };
}

async function signalPlatform(host: string, port: number, signals: readonly number[]): Promise<void> {
  const stream = new Stream({ host, port });
  try {
    for (const signal of signals) acknowledge(await stream.exchange(u32Bytes(signal), () => 4));
  } finally {
    await stream.close();
  }
}

/** A reply is the response behind its length, and an acknowledgement. */
function replyLength(received: Uint8Array): number | undefined {
  if (received.length < 4) return undefined;
  const size = u32At(received, 0);
  if (size < 10 || size > MAX_RESPONSE) {
    throw new TpmError('transport', `read the response: expected a size from 10 to ${MAX_RESPONSE}, got ${size}`);
  }
  if (received.length >= size + 8) acknowledge(received.subarray(4 + size, 8 + size));
  return size + 8;
}

function acknowledge(bytes: Uint8Array): void {
  const code = u32At(bytes, 0);
  if (code !== 0) throw new TpmError('transport', `read the acknowledgement: expected 0, got 0x${code.toString(16)}`);
}

const SIGNAL = { POWER_ON: 1, SEND_COMMAND: 8, NV_ON: 11 } as const;
