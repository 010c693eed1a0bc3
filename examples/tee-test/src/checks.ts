/** What the TEE-SDK's test asks of the PAL, and how the answers are judged. */
import { strict as assert } from 'node:assert';
import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Session, TzInput, TzValue } from '@casemate/tz';

/** The numbers of `PAL_CMD`, pal/pals.h. */
const COMMANDS = [
  ...['WITHOUTPARAM', 'PARAM', 'SEAL', 'UNSEAL', 'QUOTE', 'ID_GETPUB', 'PCR_READ', 'PCR_EXTEND', 'RAND'],
  ...['TIME_INIT', 'TIME_ELAPSED', 'NV_ROLLBACK'],
] as const;
type Command = (typeof COMMANDS)[number];

/** What a check needs. */
interface Surroundings {
  readonly session: Session;
  /** Where `sealed.dat` and `nv.dat` are kept for the next run. */
  readonly state: string;
}

/** One of the test's parts: throws where something is not as it must be, else says what was seen. */
export interface Check {
  readonly name: string;
  readonly run: (surroundings: Surroundings) => Promise<string>;
}

const MESSAGE = new TextEncoder().encode('hello pal-ly boy\0');
const ZERO = Buffer.alloc(20);

/** All of them, in the order in which they are run: uPCR 7 is still zero where something is sealed to it. */
export const CHECKS: readonly Check[] = [
  { name: 'WITHOUTPARAM', run: withoutParameters },
  { name: 'PARAM', run: parameters },
  { name: 'SEAL to uPCR 7', run: (s) => sealAndUnseal(s.session, infoFor(7)) },
  { name: 'SEAL to the PAL', run: (s) => sealAndUnseal(s.session, new Uint8Array(43)) },
  { name: 'SEAL for the next run', run: sealForLater },
  { name: 'ID_GETPUB and QUOTE', run: quote },
  { name: 'PCR_EXTEND and PCR_READ', run: extend },
  { name: 'SEAL to what is past', run: sealToThePast },
  { name: 'RAND', run: random },
  { name: 'TIME_INIT and TIME_ELAPSED', run: time },
  { name: 'NV_ROLLBACK', run: rollback },
];

async function withoutParameters({ session }: Surroundings): Promise<string> {
  assert.deepEqual(await ask(session, 'WITHOUTPARAM'), []);
  return 'called';
}

async function parameters({ session }: Surroundings): Promise<string> {
  for (const number of [0, 1, 2, 0xffff_ffff]) {
    assert.deepEqual(await ask(session, 'PARAM', [number]), [(number + 1) >>> 0]);
  }
  return 'x + 1, and around';
}

/** The TPM_PCR_INFO for a uPCR that is zero at release. */
function infoFor(index: number): Uint8Array {
  const info = new Uint8Array(43);
  info.set([1, 0, 1 << index]);
  info.set(createHash('sha1').update(composite(index, ZERO)).digest(), 3);
  return info;
}

/** The TPM_PCR_COMPOSITE of one uPCR: selection with a little-endian size, u32 big-endian bytes of values, values. */
function composite(index: number, value: Uint8Array): Uint8Array {
  return Uint8Array.of(1, 0, 1 << index, 0, 0, 0, value.length, ...value);
}

async function seal(session: Session, info: Uint8Array): Promise<Uint8Array> {
  const [blob, length] = await ask(session, 'SEAL', [info, MESSAGE]);
  return bytes(blob).slice(0, Number(length));
}

async function unseal(session: Session, blob: Uint8Array): Promise<{ data: Uint8Array; creation: string }> {
  const [data, creation, length] = await ask(session, 'UNSEAL', [blob]);
  return { data: bytes(data).slice(0, Number(length)), creation: Buffer.from(bytes(creation)).toString('hex') };
}

async function sealAndUnseal(session: Session, info: Uint8Array): Promise<string> {
  const blob = await seal(session, info);
  const { data, creation } = await unseal(session, blob);
  assert.deepEqual(data, MESSAGE);
  const changed = blob.slice();
  changed[20] = (changed[20] ?? 0) ^ 1;
  await assert.rejects(unseal(session, changed), 'a changed blob must be refused');
  return `${blob.length} bytes, digest at creation ${creation}`;
}

/** The first run seals to a file; each later one unseals what the first one sealed. */
async function sealForLater({ session, state }: Surroundings): Promise<string> {
  const file = join(state, 'sealed.dat');
  const blob = await readFile(file).catch(() => undefined);
  if (blob === undefined) {
    await writeFile(file, await seal(session, new Uint8Array(43)));
    return 'sealed; the next run unseals it';
  }
  assert.deepEqual((await unseal(session, new Uint8Array(blob))).data, MESSAGE);
  return 'unsealed what an earlier run had sealed';
}

async function quote({ session }: Surroundings): Promise<string> {
  const [key, keyLength] = await ask(session, 'ID_GETPUB');
  const publicKey = createPublicKey({
    key: Buffer.from(bytes(key).slice(0, Number(keyLength))),
    format: 'der',
    type: 'pkcs1',
  });
  const nonce = new Uint8Array(randomBytes(20));
  const [signature, room, length] = await ask(session, 'QUOTE', [nonce, Uint8Array.of(1, 0, 0x80)]);
  const values = bytes(room).slice(0, 27); // one uPCR; what is behind is room
  assert.deepEqual(values, composite(7, ZERO));
  const digest = createHash('sha1').update(values).digest();
  const quoted = Buffer.concat([Buffer.from([1, 1, 0, 0]), Buffer.from('QUOT'), digest, nonce]);
  const signed = bytes(signature).slice(0, Number(length));
  assert(verify('sha1', quoted, publicKey, signed), 'the quote must verify');
  quoted[28] = (quoted[28] ?? 0) ^ 1;
  assert(!verify('sha1', quoted, publicKey, signed), 'a quote for another nonce must not verify');
  return `verified with the RSA key of ${publicKey.asymmetricKeyDetails?.modulusLength} bits`;
}

async function extend({ session }: Surroundings): Promise<string> {
  const measurement = new Uint8Array(randomBytes(20));
  const [before] = await ask(session, 'PCR_READ', [7]);
  await ask(session, 'PCR_EXTEND', [7, measurement]);
  const [after] = await ask(session, 'PCR_READ', [7]);
  const expected = createHash('sha1').update(bytes(before)).update(measurement).digest();
  assert.deepEqual(Buffer.from(bytes(after)), expected);
  await assert.rejects(ask(session, 'PCR_READ', [8]), 'there is no uPCR 8');
  return `uPCR 7 is ${expected.toString('hex')}`;
}

/** uPCR 7 is not zero any more, so what was sealed to zero stays sealed. */
async function sealToThePast({ session }: Surroundings): Promise<string> {
  await assert.rejects(unseal(session, await seal(session, infoFor(7))), 'the uPCR has changed');
  return 'refused';
}

async function random({ session }: Surroundings): Promise<string> {
  const [first] = await ask(session, 'RAND', [5000]);
  const [second] = await ask(session, 'RAND', [5000]);
  assert.equal(bytes(first).length, 5000);
  assert.notDeepEqual(first, second);
  return '5000 bytes, others each time';
}

async function time({ session }: Surroundings): Promise<string> {
  await ask(session, 'TIME_INIT');
  const elapsed = async () => {
    const [high, low] = await ask(session, 'TIME_ELAPSED');
    return Number(high) * 2 ** 32 + Number(low);
  };
  const first = await elapsed();
  await new Promise((done) => setTimeout(done, 50));
  const second = await elapsed();
  assert(second - first >= 40_000, `50 ms must take 50,000 µs, got ${second - first}`);
  return `${first} µs, then ${second} µs`;
}

/** What the PAL's NV holds is what the last run wrote: nobody has turned it back. */
async function rollback({ session, state }: Surroundings): Promise<string> {
  const file = join(state, 'nv.dat');
  const written = await readFile(file).catch(() => undefined);
  const value = new Uint8Array(randomBytes(32));
  const [before] = await ask(session, 'NV_ROLLBACK', [value]);
  if (written !== undefined) assert.deepEqual(Buffer.from(bytes(before)), written);
  await writeFile(file, value);
  const [same] = await ask(session, 'NV_ROLLBACK', [value]);
  assert.deepEqual(same, value);
  return written === undefined ? 'written; the next run reads it' : 'holds what the last run wrote';
}

async function ask(session: Session, command: Command, values: readonly TzInput[] = []): Promise<readonly TzValue[]> {
  return await session.invoke(COMMANDS.indexOf(command), values);
}

function bytes(value: TzValue | undefined): Uint8Array {
  assert(value instanceof Uint8Array, `expected an array, got ${value}`);
  return value;
}
