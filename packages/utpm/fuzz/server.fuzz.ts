/** Mutated bytes to a server: raw commands, control messages, simulator frames and state blobs, whole, in pieces and cut off. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FuzzTarget, Random } from '../../../scripts/fuzz-loop.mjs';
import { mutate } from '../../tpm/fuzz/mutate.js';
import { memoryState } from '../src/index-node.js';
import { type ListenAddress, serve, type UtpmServer } from '../src/server.js';
import { assertResponse, realCommands } from './corpus.js';

const LOCAL = { type: 'tcp', port: 0 } as const;
const STARTUP = Uint8Array.of(0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0);
const GET_RANDOM = Uint8Array.of(0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8);
const INIT = Uint8Array.of(0, 0, 0, 2, 0, 0, 0, 0);

/** What `npm run fuzz -- utpm server` runs. */
export const target: FuzzTarget = {
  async open() {
    const directory = mkdtempSync(join(tmpdir(), 'utpm-fuzz-'));
    const fuzzer = new ServerFuzzer(directory);
    return {
      run: (random) => fuzzer.run(random),
      async close() {
        await fuzzer.close();
        rmSync(directory, { recursive: true });
      },
    };
  },
};

class ServerFuzzer {
  readonly #path: string;
  readonly #state = memoryState();
  readonly #messages = realMessages();
  #server: UtpmServer | undefined;
  #hasEnded = false;
  #cases = 0;

  constructor(directory: string) {
    this.#path = join(directory, 'control');
  }

  async run(random: Random): Promise<string> {
    const server = await this.#open(random);
    if (this.#cases++ % 64 === 0) await this.#assertWell(server);
    const address = random.pick([server.data, server.control]);
    const message = random.oneIn(32) ? random.bytes(random.below(300)) : mutate(random.pick(this.#messages), random);
    const answer = await converse(address, piecesOf(message, random));
    return answer.length === 0 ? 'no answer' : 'answered';
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }

  // Some requests end the server, as they are there to do; it comes up again on its state.
  async #open(random: Random): Promise<UtpmServer> {
    if (this.#server !== undefined && !this.#hasEnded) return this.#server;
    await this.#server?.close();
    const control: ListenAddress = random.oneIn(2) ? LOCAL : { type: 'unix', path: this.#path };
    const server = await serve({ data: LOCAL, control, state: this.#state, startup: true, oneClient: random.oneIn(2) });
    this.#server = server;
    this.#hasEnded = false;
    void server.ended.then(() => {
      this.#hasEnded = true;
    });
    return server;
  }

  async #assertWell(server: UtpmServer): Promise<void> {
    const size = this.#state.snapshot()?.length ?? 0;
    if (size > 512 * 1024) throw new Error(`the state has grown to ${size} bytes`);
    const code = await converse(server.control, [INIT], 4);
    if (code.length !== 4 || code.some((byte) => byte !== 0)) throw new Error(`expected INIT to succeed, got ${code}`);
    assertResponse(await converse(server.data, [STARTUP], 10));
    const response = await converse(server.data, [GET_RANDOM], 20);
    if (assertResponse(response) !== 0) throw new Error('expected random bytes');
  }
}

/** Sends the pieces, ends the sending side unless an answer of `length` bytes is wanted, and returns what came. */
function converse(
  address: ListenAddress | undefined,
  pieces: readonly Uint8Array[],
  length = Number.POSITIVE_INFINITY,
): Promise<Uint8Array> {
  return new Promise((resolve) => {
    const socket = connectTo(address);
    let answer = Buffer.alloc(0);
    socket.on('data', (data: Buffer) => {
      answer = Buffer.concat([answer, data]);
      if (answer.length >= length) socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve(answer));
    for (const piece of pieces) socket.write(piece);
    // Waits a little for an answer before it says that it has no more to send, which ends the connection.
    if (length === Number.POSITIVE_INFINITY) setTimeout(() => socket.end(), 2);
  });
}

function connectTo(address: ListenAddress | undefined): Socket {
  if (address?.type === 'unix') return createConnection(address.path);
  return createConnection(address?.type === 'tcp' ? address.port : 0, '127.0.0.1');
}

function piecesOf(message: Uint8Array, random: Random): readonly Uint8Array[] {
  if (!random.oneIn(4)) return [message];
  const at = random.below(message.length + 1);
  return [message.subarray(0, at), message.subarray(at)];
}

function realMessages(): readonly Uint8Array[] {
  const commands = realCommands();
  const frames = commands.map((command) => joined(words(8), Uint8Array.of(0), words(command.length), command));
  // SHUTDOWN (3) and the simulator's STOP (21) are among them once, and so happen now and then.
  const signals = Array.from({ length: 0x24 }, (_, code) => joined(words(code), words(0, 1, 0, 0)));
  const controls = Array.from({ length: 0x14 }, (_, code) => words(code));
  const hash = [words(6), joined(words(7, 3), Uint8Array.of(1, 2, 3)), words(8)];
  const blobs = [1, 2, 3].map((type) => joined(words(0xd, 0, type, 10), Uint8Array.of(2, 1, 0, 10, 0, 0, 0, 0, 0, 10)));
  const gets = [1, 2, 3].map((type) => words(0xc, 0, type, 0));
  return [...commands, ...frames, ...signals, ...controls, ...hash, ...blobs, ...gets];
}

function words(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  values.forEach((value, i) => {
    new DataView(bytes.buffer).setUint32(4 * i, value);
  });
  return bytes;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
