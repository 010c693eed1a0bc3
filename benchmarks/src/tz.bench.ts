/**
 * `@casemate/tz` beside what stands below it. What the API adds to a call: prepare, encode, perform, decode and release, beside
 * `Pal.invoke` with the same records, call by call in turn. And shared memory: a mebibyte that is written and lent, beside one copy of it
 * and a call that lends a page. The service is in C, for both engines, on the messages of the C SDK.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { linkElfPal, linkPal } from '@casemate/pal-linker';
import { memoryStore, openTrustvisor, type Trustvisor } from '@casemate/trustvisor';
import { encodeBuffer, HEADER_SIZE, measurementUuid, openDevice, type Session, TZ_MEM } from '@casemate/tz';
import { compare, flags } from './turns.js';

const area = 'tz';
const rounds = flags.quick ? 5 : 15;
const calls = flags.quick ? 100 : 300;
/** Microseconds that the API may add to a call. */
const BAR = 25;
/** Calls until the engine has compiled both ways for speed. */
const WARM = 6000;
const MEBIBYTE = 1 << 20;
const ECHO = 1;
const TOUCH = 2;

const source = `
#include <casemate-pal.h>
#include <tee-sdk/tzmarshal.h>
static void echo(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	for (uint32_t type; (type = TZIDecodeGetType(in)) != TZ_TYPE_NONE;) {
		uint32_t length;
		if (type == TZ_TYPE_UINT32)
			TZIEncodeUint32(out, TZIDecodeUint32(in));
		else if (type == TZ_TYPE_ARRAY) {
			const uint8_t *from = TZIDecodeArraySpace(in, &length);
			uint8_t *to = TZIEncodeArraySpace(out, length);
			for (uint32_t i = 0; to && i < length; i++)
				to[i] = from[i];
		}
	}
}
void pal(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out, tz_return_t *rv)
{
	struct pal_memory memory;
	uint32_t sum = 0;
	if (command == ${ECHO})
		echo(in, out);
	else if (command == ${TOUCH} && memory_lent(0, &memory) == PAL_SUCCESS) {
		const volatile uint8_t *from = (const uint8_t *)(uintptr_t)memory.address;
		for (uint64_t i = 0; i < memory.length; i += 4096)
			sum += from[i];
		TZIEncodeUint32(out, sum);
	} else
		*rv = TZ_ERROR_NOT_IMPLEMENTED;
}
void *memcpy(void *to, const void *from, size_t size)
{
	for (volatile uint8_t *t = to, *f = (uint8_t *)from; size > 0; size--)
		*t++ = *f++;
	return to;
}
void *memset(void *to, int byte, size_t size)
{
	for (volatile uint8_t *t = to; size > 0; size--)
		*t++ = (uint8_t)byte;
	return to;
}
`;

for (const engine of ['kvm', 'wasm'] as const) {
  const problem = whyNot(engine);
  if (problem === undefined) await measure(engine);
  else process.stderr.write(`${engine}: left out, ${problem}\n`);
}

function whyNot(engine: 'kvm' | 'wasm'): string | undefined {
  if (engine === 'wasm') return undefined;
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return '/dev/kvm is not there or may not be used';
  }
}

async function measure(engine: 'kvm' | 'wasm'): Promise<void> {
  await using trustvisor = await openTrustvisor({ store: memoryStore(), engine, insecureAllowEphemeral: true });
  const pal = await trustvisor.register(buildService(engine));
  await using device = await openDevice({ trustvisor, pals: [pal] });
  await using session = await device.openSession(measurementUuid(pal.measurement));
  await invocations(engine, session, (records) => pal.invoke(ECHO, records));
  await sharedMemory(engine, session, trustvisor);
}

/** Calls in turn, one of each kind at a time, so that a busy minute of the machine meets both. */
async function invocations(
  engine: string,
  session: Session,
  bare: (records: Uint8Array) => Promise<unknown>,
): Promise<void> {
  const values = [1, 2, new Uint8Array(64)];
  const records = encodeBuffer(values).subarray(HEADER_SIZE);
  const whole = () => session.invoke(ECHO, values);
  for (let i = 0; i < WARM; i++) await (i % 2 === 0 ? whole() : bare(records));
  const pairs: { readonly ours: number; readonly theirs: number; readonly added: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const times = { ours: [] as number[], theirs: [] as number[] };
    for (let i = 0; i < calls; i++) {
      const turn = [
        ['ours', whole],
        ['theirs', () => bare(records)],
      ] as const;
      for (const [who, call] of i % 2 === 0 ? turn : [...turn].reverse()) times[who].push(await micros(call));
    }
    const added = median(times.ours.map((time, i) => time - (times.theirs[i] ?? Number.NaN)));
    pairs.push({ ours: median(times.ours), theirs: median(times.theirs), added });
  }
  const name = `invoke, ${engine}`;
  const each = (key: 'ours' | 'theirs' | 'added') => replay(pairs.map((pair) => pair[key]));
  const common = { area, unit: 'us', better: 'lower', rounds } as const;
  await compare({ ...common, name, ours: each('ours'), theirs: { 'Pal.invoke alone': each('theirs') } });
  await compare({
    ...common,
    name: `${name}: added by the API`,
    ours: each('added'),
    theirs: { 'the bar': () => BAR },
  });
}

async function sharedMemory(engine: string, session: Session, trustvisor: Trustvisor): Promise<void> {
  using memory = await session.allocateSharedMemory(MEBIBYTE, TZ_MEM.SERVICE_RO);
  const content = new Uint8Array(MEBIBYTE).fill(1);
  const copy = new Uint8Array(MEBIBYTE);
  const call = async (length: number, sum: number) => {
    const [touched] = await session.invoke(TOUCH, [memory.range(0, length)]);
    if (touched !== sum) throw new Error(`expected the service to see ${sum} pages, got ${touched}`);
  };
  const before = moved();
  memory.write(0, content);
  await call(MEBIBYTE, 256);
  const passed = moved() - before;
  const ours = () =>
    micros(async () => {
      memory.write(0, content);
      await call(MEBIBYTE, 256);
    });
  const theirs = () =>
    micros(async () => {
      copy.set(content);
      await call(4096, 1);
    });
  const common = { area, better: 'lower' } as const;
  const name = `lend 1 MiB, ${engine}`;
  await compare({
    ...common,
    name,
    unit: 'us',
    rounds: rounds * 4,
    ours,
    theirs: { 'one copy, and lending 4 KiB': theirs },
  });
  const counted = { ...common, name: `${name}: bytes that leave the application`, unit: 'B', rounds: 1 };
  await compare({ ...counted, ours: () => passed, theirs: { 'one copy': () => MEBIBYTE } });
  if (trustvisor.pid === undefined) throw new Error('expected an isolate of this machine');
}

/** Bytes that this process has written to files and streams. */
function moved(): number {
  return Number(/wchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
}

async function micros(operation: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await operation();
  return (performance.now() - start) * 1000;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Gives measured values one after another; the first is asked for twice, as `compare` warms. */
function replay(values: readonly number[]): () => number {
  let next = -1;
  return () => values[Math.max(0, next++)] ?? Number.NaN;
}

function buildService(engine: 'kvm' | 'wasm'): Uint8Array {
  const require = createRequire(import.meta.url);
  const tz = dirname(require.resolve('@casemate/tz/package.json'));
  const include = join(dirname(require.resolve('@casemate/trustvisor/package.json')), 'include');
  const place = mkdtempSync(join(tmpdir(), 'casemate-bench-'));
  try {
    writeFileSync(join(place, 'service.c'), source);
    const files = [join(place, 'service.c'), join(tz, 'sdk/src/marshal.c')];
    const includes = ['-isystem', join(tz, 'sdk/libc/include'), `-I${join(tz, 'sdk/include')}`, `-I${include}`];
    const common = ['-O2', '-ffreestanding', '-fno-stack-protector', ...includes];
    if (engine === 'wasm') {
      const options = ['--target=wasm32', '-nostdlib', '-fuse-ld=lld', '-Wl,--no-entry', '-Wl,--export=pal'];
      execFileSync('clang', [...common, ...options, ...files, '-o', join(place, 'service.wasm')]);
      return linkPal({
        name: 'bench',
        version: '1',
        module: new Uint8Array(readFileSync(join(place, 'service.wasm'))),
      });
    }
    const objects = files.map((file, i) => {
      const object = join(place, `${i}.o`);
      execFileSync('gcc', [...common, '-fcf-protection=none', '-c', file, '-o', object]);
      return { name: `${i}.o`, content: new Uint8Array(readFileSync(object)) };
    });
    return linkElfPal({ name: 'bench', version: '1', objects }).image;
  } finally {
    rmSync(place, { recursive: true });
  }
}
