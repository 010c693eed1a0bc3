import { readFileSync } from 'node:fs';
import { Writer } from '@casemate/wire';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  Decoder,
  decodeBuffer,
  Encoder,
  encodeBuffer,
  HEADER_SIZE,
  nullDriver,
  openDevice,
  type Session,
  TZ_RETURN,
  TzError,
  TzRecord,
  type TzValue,
  turnBuffer,
} from '../src/index.js';
import { recordsOf } from '../src/marshal.js';
import { buildPal, PROBE } from './probe-service.js';

interface Vector {
  readonly name: string;
  readonly buffer: string;
  readonly capacity: number;
  readonly values: readonly (number | string | null)[];
  readonly error: string;
}
const vectors: { good: Vector[]; bad: Vector[]; malformed: Vector[] } = JSON.parse(
  readFileSync(new URL('vectors/messages.json', import.meta.url), 'utf8'),
);

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.replaceAll(' ', '').match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

function valuesOf(vector: Vector): readonly TzValue[] {
  return vector.values.map((value) => (typeof value === 'string' ? fromHex(value) : value));
}

const anyValue: fc.Arbitrary<TzValue> = fc.oneof(
  fc.nat(0xffff_ffff),
  fc.uint8Array({ maxLength: 40 }),
  fc.constant(null),
);
const anyValues = fc.array(anyValue, { maxLength: 12 });

describe('a message', () => {
  it.each(vectors.good)('has one encoding: $name', (vector) => {
    expect(encodeBuffer(valuesOf(vector), vector.capacity)).toEqual(fromHex(vector.buffer));
    expect(decodeBuffer(fromHex(vector.buffer))).toEqual(valuesOf(vector));
  });

  it.each(vectors.bad)('is refused at the first bad record, and the error sticks: $name', (vector) => {
    const decoder = new Decoder(fromHex(vector.buffer));
    expect(vector.values.map(() => decoder.value())).toEqual(valuesOf(vector));
    decoder.value();
    expect(decoder.error).toBe(vector.error);
    expect([decoder.uint32(), decoder.arraySpace(), decoder.type, decoder.more]).toEqual([0, null, 'NONE', false]);
    expect(decoder.error).toBe(vector.error);
    expect(() => decodeBuffer(fromHex(vector.buffer))).toThrow(expect.objectContaining({ code: vector.error }));
  });

  it.each(vectors.malformed)('is no message at all: $name', (vector) => {
    expect(() => new Decoder(fromHex(vector.buffer))).toThrow(
      expect.objectContaining({ code: 'TZ_ERROR_COMMUNICATION', origin: 'communication' }),
    );
  });

  it('decodes to what was encoded, whatever that was', () => {
    fc.assert(
      fc.property(anyValues, (values) => {
        expect(decodeBuffer(encodeBuffer(values))).toEqual(values);
      }),
    );
  });

  it('puts array data at a multiple of 8 and every record at a multiple of 4', () => {
    fc.assert(
      fc.property(anyValues, fc.uint8Array({ minLength: 1, maxLength: 9 }), (values, last) => {
        const buffer = encodeBuffer([...values, last]);
        expect(buffer.length % 4).toBe(0);
        const end = buffer.length - ((4 - (last.length % 4)) % 4);
        expect((end - last.length) % 8).toBe(0);
        expect(buffer.slice(end - last.length, end)).toEqual(last);
      }),
    );
  });

  it('cut short at any byte gives a prefix of its records and an error, or is refused', () => {
    const buffer = encodeBuffer([1, Uint8Array.of(1, 2, 3, 4, 5), null, Uint8Array.of(6)]);
    for (let length = 0; length < buffer.length; length++) {
      expect(() => decodeBuffer(buffer.slice(0, length))).toThrow(TzError);
    }
    for (let used = buffer.length - HEADER_SIZE - 1; used > 0; used--) {
      const shorter = buffer.slice();
      shorter[12] = used;
      if ([8, 24, 32].includes(used)) expect(decodeBuffer(shorter).length).toBeLessThan(4);
      else expect(() => decodeBuffer(shorter)).toThrow(TzError);
    }
  });

  it('of arbitrary bytes decodes to values or to a TzError, and values encode back to the same records', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.boolean(), (bytes, plausible) => {
        const buffer = plausible ? turnable(bytes) : bytes;
        try {
          const values = decodeBuffer(buffer);
          expect(recordsOf(encodeBuffer(values))).toEqual(recordsOf(buffer));
        } catch (error) {
          expect(error).toBeInstanceOf(TzError);
        }
      }),
      { numRuns: 5000 },
    );
  });
});

/** A correct header around arbitrary records with small tags. */
function turnable(bytes: Uint8Array): Uint8Array {
  const records = bytes.map((byte, i) => (i % 4 === 0 ? byte % 6 : byte % 3 === 0 ? byte : 0));
  const buffer = new Uint8Array(HEADER_SIZE + records.length);
  new DataView(buffer.buffer).setUint32(4, records.length, true);
  new DataView(buffer.buffer).setUint32(12, records.length, true);
  buffer.set(records, HEADER_SIZE);
  return buffer;
}

describe('an encoder', () => {
  it('ignores everything after its first error and carries the error to the decoder', () => {
    const encoder = new Encoder(16);
    encoder.uint32(1);
    encoder.array(new Uint8Array(9));
    expect(encoder.error).toBe('TZ_ERROR_ENCODE_MEMORY');
    expect(encoder.arraySpace(0)).toBeNull();
    encoder.uint32(2);
    expect(encoder.used).toBe(8);
    expect(new Decoder(encoder.finish()).error).toBe('TZ_ERROR_ENCODE_MEMORY');
  });

  it('hands out array space that is filled afterwards, and copies arrays that are changed afterwards', () => {
    const encoder = new Encoder();
    const given = Uint8Array.of(1, 2);
    encoder.array(given);
    const space = encoder.arraySpace(2);
    space?.set([3, 4]);
    given.fill(9);
    expect(decodeBuffer(encoder.finish())).toEqual([Uint8Array.of(1, 2), Uint8Array.of(3, 4)]);
  });

  it('hands out space that stays where it is, at a multiple of 8 of its memory, however long the message becomes', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(700), { minLength: 1, maxLength: 30 }), (lengths) => {
        const encoder = new Encoder(65_536);
        const spaces = lengths.map((length, i) => {
          if (i % 3 === 1) encoder.uint32(i);
          return encoder.arraySpace(length);
        });
        spaces.forEach((space, i) => {
          expect((space?.byteOffset ?? 1) % 8).toBe(0);
          space?.fill(i + 1);
        });
        const arrays = decodeBuffer(encoder.finish()).filter((value) => value instanceof Uint8Array);
        expect(arrays).toEqual(lengths.map((length, i) => new Uint8Array(length).fill(i + 1)));
      }),
    );
  });

  it('writes what the codec of a record writes', () => {
    fc.assert(
      fc.property(anyValues, (values) => {
        const w = new Writer();
        for (const value of values) TzRecord.write(w, value);
        expect(recordsOf(encodeBuffer(values))).toEqual(w.finish());
      }),
    );
  });

  it.each([-1, 2 ** 32, 0.5, Number.NaN])('refuses %s as an unsigned 32-bit integer', (value) => {
    expect(() => new Encoder().uint32(value)).toThrow(expect.objectContaining({ code: 'TZ_ERROR_ILLEGAL_ARGUMENT' }));
  });

  it('refuses array space of more than its capacity without allocating it', () => {
    const encoder = new Encoder(64);
    expect(encoder.arraySpace(Number.MAX_SAFE_INTEGER)).toBeNull();
    expect(encoder.error).toBe('TZ_ERROR_ENCODE_MEMORY');
  });
});

describe('turning a buffer', () => {
  it('makes what a service wrote up to its offset decodable', () => {
    const raw = encodeBuffer([5], 64);
    raw.copyWithin(8, 12, 16);
    raw.fill(0, 12, 16);
    const larger = new Uint8Array(16 + 64);
    larger.set(raw);
    expect(decodeBuffer(turnBuffer(larger))).toEqual([5]);
  });

  it('refuses an offset beyond the buffer', () => {
    const raw = new Uint8Array(24);
    raw[4] = 8;
    raw[8] = 9;
    expect(() => turnBuffer(raw)).toThrow(expect.objectContaining({ code: 'TZ_ERROR_COMMUNICATION' }));
  });
});

describe('the AssemblyScript service SDK, a second implementation of the format', () => {
  let session: Session;
  beforeAll(async () => {
    const device = await openDevice({ name: 'null' });
    const manager = await device.openManager();
    session = await device.openSession(await manager.downloadService(await buildPal('probe.pal.ts')));
  });

  it('decodes and encodes every message to the same values', async () => {
    await fc.assert(
      fc.asyncProperty(anyValues, async (values) => {
        expect(await session.invoke(PROBE.ECHO, values)).toEqual(values);
      }),
    );
  });

  it('refuses arbitrary bytes with the error that the TypeScript decoder has', async () => {
    const connection = await nullDriver().open();
    const manager = await connection.openManager({});
    const { signal } = new AbortController();
    const service = await manager.download(await buildPal('probe.pal.ts'), signal);
    const call = { signal, onCancel: () => () => undefined, timeLimit: undefined, lend: [] };
    const channel = await connection.openSession(service, {}, encodeBuffer([]), call);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), async (bytes) => {
        const buffer = turnable(bytes);
        const reply = await channel.invoke(PROBE.ECHO, buffer, call);
        const decoder = new Decoder(buffer);
        while (decoder.more) decoder.value();
        expect(reply.returnCode).toBe(decoder.error ? TZ_RETURN[decoder.error] : 0);
        if (!decoder.error) expect(recordsOf(reply.output)).toEqual(recordsOf(buffer));
      }),
      { numRuns: 5000 },
    );
  });

  it('reports an output that does not fit as TZ_ERROR_ENCODE_MEMORY, also for a length near 2^32', async () => {
    for (const length of [16_384, 0x7fff_ffff, 0xffff_fff0, 0xffff_ffff]) {
      await expect(session.invoke(PROBE.FILL, [length])).rejects.toMatchObject({ serviceReturn: 9 });
    }
    expect(await session.invoke(PROBE.FILL, [16_376])).toEqual([new Uint8Array(16_376)]);
  });

  it('reads and extends uPCRs and gets random bytes', async () => {
    const [before, after, random] = await session.invoke(PROBE.PCR);
    expect(before).toEqual(new Uint8Array(32));
    expect(Buffer.from(after as Uint8Array).toString('hex')).toBe(
      'f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b', // SHA-256 of 64 zero bytes
    );
    expect(random).toHaveLength(16);
    expect(random).not.toEqual(new Uint8Array(16));
  });
});
