/** The codec in TypeScript beside the one in C (sdk/src/marshal.c), which is compiled for this machine under sanitizers and called. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Reader, WireError, Writer } from '@casemate/wire';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Decoder,
  Encoder,
  HEADER_SIZE,
  type MemoryReference,
  type ServiceMemory,
  TZ_RETURN,
  TzError,
  TzRecord,
  type TzValue,
} from '../src/index.js';

const missing = spawnSync('gcc', ['--version']).status === 0 ? '' : 'gcc is missing';
if (missing !== '' && process.env.MUST_RUN === '1') throw new Error(missing);

type Item = TzValue | MemoryReference;
interface Decoded {
  readonly values: readonly Item[];
  readonly error: number;
}

describe.skipIf(missing !== '')(`the codec in C${missing === '' ? '' : ` (${missing})`}`, () => {
  let place: string;
  let program: CodecProgram;
  beforeAll(() => {
    place = mkdtempSync(join(tmpdir(), 'casemate-tz-codec-'));
    program = new CodecProgram(compile(place));
  }, 60_000);
  afterAll(async () => {
    await program?.end();
    rmSync(place, { recursive: true, force: true });
  });

  it('encodes and decodes the vectors', async () => {
    const path = new URL('vectors/messages.json', import.meta.url);
    const vectors: Record<string, { buffer: string }[]> = JSON.parse(readFileSync(path, 'utf8'));
    for (const { buffer } of Object.values(vectors).flat()) {
      const message = Uint8Array.from(Buffer.from(buffer.replaceAll(' ', ''), 'hex'));
      expect(await program.decode(message)).toEqual(decodeItems(message));
    }
  });

  it('encodes every message to the same bytes, also where it does not fit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyItem, { maxLength: 12 }), fc.nat(200), async (items, capacity) => {
        expect(await program.encode(items, capacity)).toEqual(encodeItems(items, capacity));
      }),
      { numRuns: 1000 },
    );
  });

  it('decodes every message to the same values', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyItem, { maxLength: 12 }), async (items) => {
        const message = encodeItems(items, 16_384);
        expect(await program.decode(message)).toEqual({ values: items, error: 0 });
        expect(decodeItems(message)).toEqual({ values: items, error: 0 });
      }),
      { numRuns: 1000 },
    );
  });

  it('decodes arbitrary bytes to the same values and the same first error', async () => {
    await fc.assert(
      fc.asyncProperty(anyBytes, async (message) => {
        expect(await program.decode(message)).toEqual(decodeItems(message));
      }),
      { numRuns: 5000 },
    );
  });

  it('decodes by types that fit or do not to the same values, zeros and NULLs after the first error', async () => {
    const types = fc.array(fc.constantFrom(1, 2, 3), { maxLength: 14 });
    await fc.assert(
      fc.asyncProperty(fc.array(anyItem, { maxLength: 12 }), types, fc.nat(64), async (items, wanted, cut) => {
        const whole = encodeItems(items, 16_384);
        const used = Math.max(0, whole.length - HEADER_SIZE - (cut > 32 ? cut : 0));
        new DataView(whole.buffer).setUint32(12, used, true);
        expect(await program.decodeAs(wanted, whole)).toEqual(decodeByType(wanted, whole, items));
      }),
      { numRuns: 2000 },
    );
  });
});

const anyReference: fc.Arbitrary<MemoryReference> = fc.record({
  index: fc.nat(0xffff_ffff),
  length: fc.nat(0xffff_ffff),
  flags: fc.constantFrom(1, 2, 3),
});
const anyItem: fc.Arbitrary<Item> = fc.oneof(
  fc.nat(0xffff_ffff),
  fc.uint8Array({ maxLength: 40 }),
  fc.constant(null),
  anyReference,
);
/** Words that are likely to be tags, lengths and padding, behind a header that is mostly sound. */
const anyBytes: fc.Arbitrary<Uint8Array> = fc
  .tuple(
    fc.array(fc.oneof(fc.nat(4), fc.nat(24), fc.constant(0), fc.nat(0xffff_ffff)), { maxLength: 20 }),
    fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ min: 2, max: 18 })),
    fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ min: -9, max: 9 })),
    fc.nat(3),
  )
  .map(([words, error, wrong, cut]) => {
    const message = new Uint8Array(HEADER_SIZE + 4 * words.length);
    const view = new DataView(message.buffer);
    const used = Math.max(0, 4 * words.length + wrong);
    for (const [i, word] of [error, 4 * words.length, 0, used, ...words].entries()) view.setUint32(4 * i, word, true);
    return message.subarray(0, message.length - cut);
  });

function encodeItems(items: readonly Item[], capacity: number): Uint8Array {
  const encoder = new Encoder(capacity);
  for (const item of items) {
    if (isReference(item)) encoder.memoryReference(item);
    else encoder.value(item);
  }
  return encoder.finish();
}

/** All records and the first error, as the program answers them. */
function decodeItems(message: Uint8Array): Decoded {
  const values: Item[] = [];
  try {
    const { error } = new Decoder(message);
    if (error) return { values, error: TZ_RETURN[error] };
    const used = new DataView(message.buffer, message.byteOffset).getUint32(12, true);
    const reader = new Reader(message.slice(HEADER_SIZE, HEADER_SIZE + used));
    while (reader.remaining > 0) values.push(TzRecord.read(reader));
    return { values, error: 0 };
  } catch (error) {
    if (error instanceof TzError) return { values, error: error.number };
    if (!(error instanceof WireError)) throw error;
    return { values, error: error.code === 'truncated' ? 6 : 7 };
  }
}

function decodeByType(types: readonly number[], message: Uint8Array, items: readonly Item[]): Decoded {
  const decoder = new Decoder(message, believed(items.filter(isReference)));
  const nothing = { index: 0, length: 0, flags: 0 };
  const values = types.map((type) => {
    if (type === 1) return decoder.uint32();
    if (type === 2) return decoder.arraySpace();
    const memory = decoder.memoryReference();
    const found = items.find(
      (item) => isReference(item) && memory?.length === item.length && indexOf(memory) === item.index,
    );
    return (found ?? nothing) as Item;
  });
  return { values, error: decoder.error ? TZ_RETURN[decoder.error] : 0 };
}

const indexes = new WeakMap<ServiceMemory, number>();
function indexOf(memory: ServiceMemory): number | undefined {
  return indexes.get(memory);
}

/** Takes every reference at its word, as the program does; the first of those that have the same number. */
function believed(references: readonly MemoryReference[]): readonly ServiceMemory[] {
  const lent: ServiceMemory[] = [];
  for (const { index, length, flags } of references) {
    const memory = { length, flags, read: () => new Uint8Array(0), write: () => undefined };
    indexes.set(memory, index);
    lent[index] ??= memory;
  }
  return lent;
}

function isReference(item: Item): item is MemoryReference {
  return typeof item === 'object' && item !== null && !(item instanceof Uint8Array);
}

function compile(place: string): string {
  const sdk = fileURLToPath(new URL('../sdk', import.meta.url));
  const program = join(place, 'codec');
  const sources = ['test/codec.c', 'src/marshal.c'].map((source) => join(sdk, source));
  const flags = [
    '-O1',
    '-g',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-fsanitize=address,undefined',
    '-fno-sanitize-recover=all',
  ];
  const done = spawnSync('gcc', [...flags, `-I${join(sdk, 'include')}`, ...sources, '-o', program], {
    encoding: 'utf8',
  });
  if (done.status !== 0) throw new Error(done.stderr);
  return program;
}

/** The program of sdk/test/codec.c, which says how to talk to it. */
class CodecProgram {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting: { resolve(answer: Uint8Array): void; reject(error: Error): void }[] = [];
  readonly #ended: Promise<void>;
  #received: Buffer = Buffer.alloc(0);
  #complaint = '';

  constructor(path: string) {
    this.#process = spawn(path);
    this.#process.stdout.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#process.stderr.on('data', (chunk: Buffer) => {
      this.#complaint += chunk.toString();
    });
    this.#ended = new Promise((resolve) => {
      this.#process.once('close', () => {
        for (const { reject } of this.#waiting) reject(new Error(`the program ended: ${this.#complaint}`));
        resolve();
      });
    });
  }

  async decode(message: Uint8Array): Promise<Decoded> {
    return parseValues(await this.#ask([0], message));
  }

  async decodeAs(types: readonly number[], message: Uint8Array): Promise<Decoded> {
    return parseValues(await this.#ask([2, types.length, ...types], message));
  }

  encode(items: readonly Item[], capacity: number): Promise<Uint8Array> {
    const w = new Writer();
    for (const item of items) writeItem(w, item);
    return this.#ask([1, capacity], w.finish());
  }

  async end(): Promise<void> {
    this.#process.stdin.end();
    await this.#ended;
  }

  #ask(words: readonly number[], bytes: Uint8Array): Promise<Uint8Array> {
    const w = new Writer();
    for (const word of [4 * words.length + bytes.length, ...words]) w.u32(word, 'word', true);
    w.put(bytes, 'bytes');
    this.#process.stdin.write(w.finish());
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #receive(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 4 && this.#received.length >= 4 + this.#received.readUInt32LE(0)) {
      const length = this.#received.readUInt32LE(0);
      this.#waiting.shift()?.resolve(Uint8Array.from(this.#received.subarray(4, 4 + length)));
      this.#received = this.#received.subarray(4 + length);
    }
  }
}

function writeItem(w: Writer, item: Item): void {
  const [kind, word] =
    typeof item === 'number' ? [0, item] : item === null ? [3, 0] : [item instanceof Uint8Array ? 1 : 2, item.length];
  w.u32(kind, 'kind', true);
  w.u32(word, 'word', true);
  if (item instanceof Uint8Array) w.put(item, 'data');
  else if (isReference(item)) for (const each of [item.index, item.flags]) w.u32(each, 'word', true);
}

function parseValues(answer: Uint8Array): Decoded {
  const r = new Reader(answer);
  const values: Item[] = [];
  for (;;) {
    const kind = r.u32('kind', true);
    const word = r.u32('word', true);
    if (kind === 0xffff_ffff) return { values, error: word };
    if (kind === 0) values.push(word);
    else if (kind === 1) values.push(r.take(word, 'data'));
    else if (kind === 3) values.push(null);
    else values.push({ index: r.u32('index', true), length: word, flags: r.u32('flags', true) as 1 });
  }
}
