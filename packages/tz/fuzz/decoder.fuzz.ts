/** Arbitrary and mutated messages through the decoder: values or a first error that sticks, and what is decoded encodes to the same bytes. */
import type { FuzzTarget, Random } from '../../../scripts/fuzz-loop.mjs';
import {
  Decoder,
  Encoder,
  HEADER_SIZE,
  MAX_CAPACITY,
  type MemoryReference,
  type ServiceMemory,
  TzError,
  type TzValue,
  turnBuffer,
} from '../src/index.js';
import { parseProperties } from '../src/property.js';

/** What `npm run fuzz -- tz decoder` runs. */
export const target: FuzzTarget = {
  open: async () => ({
    run: (random) => {
      const { message, lent } = makeMessage(random);
      return random.oneIn(4) ? turnCase(message) : decodeCase(random, message, lent);
    },
    close: async () => undefined,
  }),
};

const WORDS = [0, 1, 2, 3, 4, 7, 8, 12, 15, 16, 24, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_fffc, 0xffff_ffff];

/** A sound message, changed here and there; or words that are likely to mean something. */
function makeMessage(random: Random): { readonly message: Uint8Array; readonly lent: readonly ServiceMemory[] } {
  const lent: ServiceMemory[] = [];
  const message = random.oneIn(3) ? wordsOf(random) : soundMessage(random, lent);
  if (!random.oneIn(8)) for (let changes = random.below(4); changes > 0; changes--) change(message, random);
  return { message: random.oneIn(6) ? message.slice(0, random.below(message.length + 1)) : message, lent };
}

function soundMessage(random: Random, lent: ServiceMemory[]): Uint8Array {
  const encoder = new Encoder(random.below(2000));
  for (let records = random.below(12); records > 0; records--) {
    switch (random.below(5)) {
      case 0:
        encoder.uint32(random.u32());
        break;
      case 1:
        encoder.array(random.bytes(random.below(80)));
        break;
      case 2:
        encoder.arraySpace(random.below(600))?.fill(random.u32());
        break;
      case 3:
        encoder.array(null);
        break;
      default:
        encoder.memoryReference(lend(random, lent));
    }
  }
  return encoder.finish().slice();
}

function lend(random: Random, lent: ServiceMemory[]): MemoryReference {
  const reference = { index: lent.length, length: random.u32(), flags: random.pick([1, 2, 3] as const) };
  lent.push({ ...reference, read: () => new Uint8Array(0), write: () => undefined });
  return reference;
}

function wordsOf(random: Random): Uint8Array {
  const count = random.below(40);
  const message = new Uint8Array(HEADER_SIZE + 4 * count);
  const view = new DataView(message.buffer);
  view.setUint32(4, 4 * count, true);
  view.setUint32(12, 4 * count, true);
  for (let i = 0; i < count; i++)
    view.setUint32(HEADER_SIZE + 4 * i, random.oneIn(8) ? random.u32() : random.pick(WORDS), true);
  return message;
}

function change(message: Uint8Array, random: Random): void {
  if (message.length < 4) return;
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const at = random.below(message.length);
  if (random.oneIn(2)) view.setUint8(at, view.getUint8(at) ^ (1 << random.below(8)));
  else view.setUint32(Math.min(at & ~3, message.length - 4), random.pick(WORDS), true);
}

function decodeCase(random: Random, message: Uint8Array, lent: readonly ServiceMemory[]): string {
  const before = message.slice();
  const decoder = openDecoder(message, random.oneIn(4) ? undefined : lent);
  if (!decoder) return 'no message';
  const encoder = new Encoder(MAX_CAPACITY);
  const values: TzValue[] = [];
  for (let record = 0; decoder.more; record++) {
    if (record > message.length / 8) throw new Error('more records than the message has room for');
    takeRecord(decoder, encoder, values, lent);
  }
  parseProperties(values);
  if (Buffer.compare(message, before) !== 0) throw new Error('decoding changed the message');
  if (decoder.error) return assertSticks(decoder);
  const used = new DataView(message.buffer, message.byteOffset).getUint32(12, true);
  const again = encoder.finish().subarray(HEADER_SIZE);
  if (Buffer.compare(again, message.subarray(HEADER_SIZE, HEADER_SIZE + used)) !== 0)
    throw new Error('a second encoding');
  return 'decoded';
}

function takeRecord(decoder: Decoder, encoder: Encoder, values: TzValue[], lent: readonly ServiceMemory[]): void {
  if (decoder.type === 'MEM') {
    const memory = decoder.memoryReference();
    if (!memory) return;
    encoder.memoryReference({ index: lent.indexOf(memory), length: memory.length, flags: memory.flags });
    return;
  }
  const value = decoder.value();
  if (decoder.error) return;
  values.push(value);
  encoder.value(value);
}

function assertSticks(decoder: Decoder): string {
  const { error } = decoder;
  const after = [decoder.uint32(), decoder.arraySpace(), decoder.memoryReference(), decoder.value(), decoder.type];
  if (JSON.stringify(after) !== '[0,null,null,null,"NONE"]' || decoder.error !== error)
    throw new Error('it did not stick');
  return String(error);
}

/** What a service leaves in its memory: turned and decoded, or refused. */
function turnCase(raw: Uint8Array): string {
  try {
    openDecoder(turnBuffer(raw));
    return 'turned';
  } catch (error) {
    return refused(error);
  }
}

function openDecoder(message: Uint8Array, lent?: readonly ServiceMemory[]): Decoder | undefined {
  try {
    return new Decoder(message, lent);
  } catch (error) {
    refused(error);
    return undefined;
  }
}

function refused(error: unknown): string {
  if (error instanceof TzError && error.code === 'TZ_ERROR_COMMUNICATION') return 'refused';
  throw error;
}
