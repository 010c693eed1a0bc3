/** Records a scene with everything that it drew at random, so that a TPM's real answers fit again when it is played. */
import type { EcdhExchange, TpmCrypto, TpmTransport } from '../src/index.js';
import { TpmError } from '../src/index.js';
import { nodeCrypto } from '../src/node-crypto.js';

/** What a scene drew: random bytes, encrypted salts, key exchanges. */
type Draw = Uint8Array | EcdhExchange;

/** One scene as it went. */
export interface Tape {
  readonly exchanges: readonly { readonly command: Uint8Array; readonly response: Uint8Array }[];
  readonly draws: readonly Draw[];
}

/** A tape as JSON has it, bytes in hexadecimal. */
export interface StoredTape {
  readonly exchanges: readonly (readonly [command: string, response: string])[];
  readonly draws: readonly (string | readonly [x: string, y: string, z: string])[];
}

/** Plays `scene` with `transport`, and writes down what passed and what was drawn. */
export async function recordScene(
  scene: (transport: TpmTransport, crypto: TpmCrypto) => Promise<void>,
  transport: TpmTransport,
): Promise<Tape> {
  const exchanges: { command: Uint8Array; response: Uint8Array }[] = [];
  const draws: Draw[] = [];
  const kept = <T extends Draw>(draw: T): T => {
    draws.push(draw instanceof Uint8Array ? draw.slice() : { x: draw.x.slice(), y: draw.y.slice(), z: draw.z.slice() });
    return draw;
  };
  const crypto: TpmCrypto = {
    ...nodeCrypto,
    random: (length) => kept(nodeCrypto.random(length)),
    rsaOaepEncrypt: (...input) => kept(nodeCrypto.rsaOaepEncrypt(...input)),
    ecdh: (peer) => kept(nodeCrypto.ecdh(peer)),
  };
  const recording: TpmTransport = {
    async send(command, options) {
      const response = await transport.send(command, options);
      exchanges.push({ command: command.slice(), response: response.slice() });
      return response;
    },
    close: async () => undefined,
  };
  await scene(recording, crypto);
  return { exchanges, draws };
}

/** A provider that draws what the tape drew; behind its end, zeros. */
export function drawing(tape: Tape): TpmCrypto {
  let next = 0;
  const bytes = (length: number): Uint8Array => {
    const draw = tape.draws[next++];
    return draw instanceof Uint8Array ? draw.slice() : new Uint8Array(length);
  };
  return {
    ...nodeCrypto,
    random: bytes,
    rsaOaepEncrypt: () => bytes(256),
    ecdh(peer) {
      const draw = tape.draws[next++];
      if (draw === undefined || draw instanceof Uint8Array) return nodeCrypto.ecdh(peer);
      return { x: draw.x.slice(), y: draw.y.slice(), z: draw.z.slice() };
    },
  };
}

/** A transport that answers as the tape did, one response after another; `change` may answer otherwise. */
export function answering(tape: Tape, change: (index: number, response: Uint8Array) => Uint8Array): TpmTransport {
  let next = 0;
  return {
    async send() {
      const index = next++;
      const exchange = tape.exchanges[index];
      if (!exchange) throw new TpmError('closed', 'play: the tape has ended');
      return change(index, exchange.response.slice());
    },
    close: async () => undefined,
  };
}

/** A tape from its JSON. */
export function parseTape({ exchanges, draws }: StoredTape): Tape {
  return {
    exchanges: exchanges.map(([command, response]) => ({ command: fromHex(command), response: fromHex(response) })),
    draws: draws.map((draw) => {
      if (typeof draw === 'string') return fromHex(draw);
      const [x, y, z] = draw;
      return { x: fromHex(x), y: fromHex(y), z: fromHex(z) };
    }),
  };
}

/** A tape for JSON. */
export function storeTape({ exchanges, draws }: Tape): StoredTape {
  return {
    exchanges: exchanges.map(({ command, response }) => [toHex(command), toHex(response)] as const),
    draws: draws.map((draw) =>
      draw instanceof Uint8Array ? toHex(draw) : ([toHex(draw.x), toHex(draw.y), toHex(draw.z)] as const),
    ),
  };
}

function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
