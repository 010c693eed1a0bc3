/**
 * PALs at work on both engines: registration, calls, and what a PAL asks of its micro-TPM, beside swtpm as the stand-in for a TPM.
 * What a PAL does is measured from within: calls that do it many times, less a call that does nothing.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { linkElfPal, linkPal } from '@casemate/pal-linker';
import {
  akTemplate,
  Create,
  createPrimary,
  extendPcr,
  FlushContext,
  Load,
  pcrSelection,
  persist,
  Quote,
  srkTemplate,
  TPM_ALG,
  TPMA_OBJECT,
  Tpm,
  Unseal,
} from '@casemate/tpm';
import { nodeCrypto } from '@casemate/tpm/node-crypto';
import { connectSwtpm } from '@casemate/tpm/swtpm';
import { memoryStore, openTrustvisor, type Pal, type Trustvisor } from '@casemate/trustvisor';
import { startSwtpm } from './peers.js';
import { compare, flags } from './turns.js';

type Engine = 'kvm' | 'wasm';
const NONE = new Uint8Array(0);
const rounds = flags.quick ? 5 : 21;
const calls = flags.quick ? 100 : 300;
const repetitions = flags.quick ? 10 : 40;
const area = 'pal';

const COMMAND = { empty: 0, echo: 1, extend: 2, pair: 3, seal: 4, quote: 5 } as const;
/** The first four bytes of the input say how often. */
const source = (size: number) => `
#include <casemate-pal.h>
static const volatile unsigned char ballast[] = "${size > 0 ? escaped(randomBytes(size)) : ''}";
static unsigned char data[32], blob[512], quoted[512], signature[512];
void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	uint32_t count = in->size_used >= 4 ? *(uint32_t *)in->data : 0;
	if (command == ${COMMAND.echo}) {
		for (uint32_t i = 0; i < in->size_used; i++)
			out->data[i] = in->data[i];
		out->offset = in->size_used;
		return;
	}
	*rv = ballast[0] * 0;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t size = sizeof blob, length = sizeof data, second = sizeof signature;
		if (command == ${COMMAND.extend})
			*rv |= utpm_pcr_extend(1, data);
		if (command == ${COMMAND.pair} || command == ${COMMAND.seal})
			*rv |= utpm_seal(data, sizeof data, 0, 0, blob, &size);
		if (command == ${COMMAND.pair})
			*rv |= utpm_unseal(blob, size, data, &length, 0);
		if (command == ${COMMAND.quote})
			*rv |= utpm_quote(data, 16, 1, quoted, &size, signature, &second);
	}
}`;

function escaped(bytes: Uint8Array): string {
  return [...bytes].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
}

const include = join(dirname(createRequire(import.meta.url).resolve('@casemate/trustvisor/package.json')), 'include');

function build(place: string, engine: Engine, size: number): Uint8Array {
  const options = { name: `bench-${size}`, version: '1', outputCapacity: 8192, inputCapacity: 8192 };
  const from = join(place, 'operations.c');
  const to = join(place, 'operations.o');
  writeFileSync(from, source(size));
  if (engine === 'kvm') {
    const how = ['-O2', '-ffreestanding', '-fno-stack-protector', '-fcf-protection=none', `-I${include}`, '-c'];
    execFileSync('gcc', [...how, from, '-o', to]);
    return linkElfPal({ ...options, objects: [{ name: 'operations.o', content: readFileSync(to) }] }).image;
  }
  const how = ['--target=wasm32', '-O2', '-ffreestanding', '-nostdlib', '-mbulk-memory', `-I${include}`];
  execFileSync('clang', [...how, '-Wl,--no-entry', '-Wl,--export=pal', from, '-o', to]);
  return linkPal({ ...options, memoryPages: 64, module: readFileSync(to) });
}

/** Prints all of it; `place` is a directory for the compilers. */
export async function measurePals(place: string): Promise<void> {
  const swtpm = await startSwtpm();
  const transport = await connectSwtpm({ host: '127.0.0.1', port: swtpm.port });
  const bare = startBareExit(place);
  const echo = startEcho();
  try {
    const theirs = await operationsOf(new Tpm(transport, { crypto: nodeCrypto }));
    for (const engine of ['kvm', 'wasm'] as const) {
      if (engine === 'kvm' && bare === undefined) continue;
      await using trustvisor = await openTrustvisor({ store: memoryStore(), engine, insecureAllowEphemeral: true });
      await measureRegistration(place, trustvisor, engine);
      const pal = await trustvisor.register(build(place, engine, 0));
      await measureCalls(pal, engine, bare, echo);
      await measureServices(pal, engine, theirs);
      await pal.unregister();
      const signer = await trustvisor.register(build(place, engine, 0), { identityKey: 'rsa-2048' });
      await measureQuote(signer, engine, 'RSA-2048', theirs.quoteRsa, repetitions / 5);
    }
  } finally {
    bare?.process.kill();
    echo.process.kill();
    await transport.close();
    swtpm.stop();
  }
}

async function measureRegistration(place: string, trustvisor: Trustvisor, engine: Engine): Promise<void> {
  for (const [name, size] of [
    ['64 KiB', 65536],
    ['1 MiB', 1 << 20],
  ] as const) {
    const image = build(place, engine, size);
    await compare({
      ...{ area, name: `register a PAL of ${name} (${engine})`, unit: 'ms', better: 'lower', rounds },
      ours: async () => {
        const start = performance.now();
        const pal = await trustvisor.register(image);
        const took = performance.now() - start;
        await pal.unregister();
        return took;
      },
      theirs: {
        'start and end of a process of Node': () => milliseconds(() => spawnSync(process.execPath, ['-e', '0'])),
      },
    });
  }
}

async function measureCalls(pal: Pal, engine: Engine, bare: BareExit | undefined, echo: Echo): Promise<void> {
  const page = new Uint8Array(4096).fill(1);
  for (let i = 0; i < 4000; i++) await pal.invoke(COMMAND.empty, NONE); // both ends compiled for speed
  await compare({
    ...{ area, name: `empty call (${engine})`, unit: 'µs', better: 'lower', rounds },
    ours: () => medianOf(calls, () => pal.invoke(COMMAND.empty, NONE)),
    theirs: {
      ...(engine === 'kvm' && bare ? { 'bare exit by a port write; the bar is 0.25': () => bare.median(calls) } : {}),
      ...(engine === 'wasm' ? { 'the bar': () => 60 } : {}),
      'one round trip between two processes of Node': () => medianOf(calls, () => echo.send(NONE)),
    },
  });
  await compare({
    ...{ area, name: `call with 4 KiB in and out (${engine})`, unit: 'µs', better: 'lower', rounds },
    ours: () => medianOf(calls, () => pal.invoke(COMMAND.echo, page)),
    theirs: { 'one round trip between two processes of Node': () => medianOf(calls, () => echo.send(page)) },
  });
}

async function measureServices(pal: Pal, engine: Engine, theirs: Operations): Promise<void> {
  const lines = [
    ['extend', COMMAND.extend, 'swtpm PCR_Extend', theirs.extend],
    ['seal', COMMAND.seal, 'swtpm Create', theirs.seal],
    ['seal and unseal', COMMAND.pair, 'swtpm Create, Load, Unseal, FlushContext', theirs.pair],
  ] as const;
  for (const [name, command, who, run] of lines) {
    for (let i = 0; i < 40; i++) await within(pal, command, 100); // compiled for speed, as swtpm is
    await compare({
      ...{ area, name: `${name} from within a PAL (${engine})`, unit: 'µs', better: 'lower', rounds },
      ours: () => within(pal, command, repetitions),
      theirs: { [who]: () => medianOf(repetitions, run) },
    });
  }
  await compare({
    ...{ area, name: `unseal from within a PAL (${engine})`, unit: 'µs', better: 'lower', rounds },
    ours: async () => (await within(pal, COMMAND.pair, repetitions)) - (await within(pal, COMMAND.seal, repetitions)),
    theirs: { 'swtpm Load, Unseal, FlushContext': () => medianOf(repetitions, theirs.unseal) },
  });
  await measureQuote(pal, engine, 'P-256', theirs.quoteEcc, repetitions);
}

async function measureQuote(
  pal: Pal,
  engine: Engine,
  key: string,
  theirs: () => Promise<unknown>,
  count: number,
): Promise<void> {
  for (let i = 0; i < 5; i++) await within(pal, COMMAND.quote, 20 * count);
  await compare({
    ...{ area, name: `quote with ${key} from within a PAL (${engine})`, unit: 'µs', better: 'lower', rounds },
    ours: () => within(pal, COMMAND.quote, count),
    theirs: { 'swtpm Quote': () => medianOf(count, theirs) },
  });
}

/** Microseconds for one of `count` in one call. */
async function within(pal: Pal, command: number, count: number): Promise<number> {
  const often = new Uint8Array(new Uint32Array([count]).buffer);
  const call = async (what: number) => {
    const start = performance.now();
    const { returnCode } = await pal.invoke(what, often);
    if (returnCode !== 0) throw new Error(`command ${what} of the PAL gave ${returnCode}`);
    return performance.now() - start;
  };
  const nothing = await call(COMMAND.empty);
  return (1000 * ((await call(command)) - nothing)) / count;
}

interface Operations {
  readonly extend: () => Promise<unknown>;
  readonly seal: () => Promise<unknown>;
  readonly unseal: () => Promise<unknown>;
  readonly pair: () => Promise<unknown>;
  readonly quoteEcc: () => Promise<unknown>;
  readonly quoteRsa: () => Promise<unknown>;
}

async function operationsOf(tpm: Tpm): Promise<Operations> {
  const srk = await createPrimary(tpm, { hierarchy: 'owner', template: srkTemplate('ecc-p256') });
  const parentHandle = { handle: srk.handle };
  const create = () =>
    tpm.execute(Create, {
      parentHandle,
      inSensitive: { userAuth: NONE, data: new Uint8Array(32) },
      inPublic: {
        type: TPM_ALG.KEYEDHASH,
        nameAlg: TPM_ALG.SHA256,
        objectAttributes: TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | TPMA_OBJECT.userWithAuth,
        authPolicy: NONE,
        parameters: { scheme: { scheme: TPM_ALG.NULL } },
        unique: NONE,
      },
      outsideInfo: NONE,
      creationPCR: [],
    });
  const open = async (made: Awaited<ReturnType<typeof create>>) => {
    const request = { parentHandle, inPrivate: made.outPrivate, inPublic: made.outPublic };
    const { objectHandle } = await tpm.execute(Load, request);
    await tpm.execute(Unseal, { itemHandle: { handle: objectHandle } });
    await tpm.execute(FlushContext, { flushHandle: objectHandle });
  };
  const sealed = await create();
  const quoteBy = async (kind: 'ecc-p256' | 'rsa-2048', handle: number) => {
    const key = await createPrimary(tpm, { hierarchy: 'owner', template: akTemplate(kind) });
    await persist(tpm, key, handle); // there is room for three objects beside
    await key.flush();
    const PCRselect = pcrSelection({ sha256: [0] });
    const rest = { qualifyingData: new Uint8Array(16), inScheme: { scheme: TPM_ALG.NULL }, PCRselect } as const;
    return () => tpm.execute(Quote, { signHandle: { handle }, ...rest });
  };
  return {
    extend: () => extendPcr(tpm, 16, { sha256: new Uint8Array(32) }),
    seal: create,
    unseal: () => open(sealed),
    pair: async () => open(await create()),
    quoteEcc: await quoteBy('ecc-p256', 0x81000010),
    quoteRsa: await quoteBy('rsa-2048', 0x81000011),
  };
}

interface BareExit {
  readonly process: ChildProcess;
  median(count: number): Promise<number>;
}

/** A virtual machine that does nothing but leave; `undefined` where there can be none. */
function startBareExit(place: string): BareExit | undefined {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    process.stderr.write('/dev/kvm is not there or may not be used: the engine kvm is left out\n');
    return undefined;
  }
  const program = join(place, 'port-exit');
  execFileSync('gcc', ['-O2', fileURLToPath(new URL('../native/port-exit.c', import.meta.url)), '-o', program]);
  const child = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    process: child,
    median: async (count) => {
      child.stdin.write(`${count}\n`);
      const { value = '' } = await lines.next();
      return middle(value.trim().split(' ').map(Number)) / 1000;
    },
  };
}

interface Echo {
  readonly process: ChildProcess;
  send(bytes: Uint8Array): Promise<void>;
}

/** The least that two processes of Node need: bytes over the kind of stream that an isolate has, and the same bytes back. */
function startEcho(): Echo {
  const program = `const s = new (require('node:net').Socket)({ fd: 3 }); s.on('data', (d) => s.write(d)); s.on('end', () => process.exit())`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] });
  const stream = child.stdio[3];
  if (!(stream instanceof Duplex)) throw new Error('expected a stream to the other process');
  let left = 0;
  let done = (): void => undefined;
  stream.on('data', (chunk: Uint8Array) => {
    left -= chunk.length;
    if (left === 0) done();
  });
  return {
    process: child,
    send: (bytes) =>
      new Promise((resolve) => {
        const frame = new Uint8Array(32 + bytes.length);
        left = frame.length;
        done = resolve;
        stream.write(frame);
      }),
  };
}

/** Median of the microseconds that each of `count` runs takes. */
async function medianOf(count: number, run: () => Promise<unknown>): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await run();
    took.push(1000 * (performance.now() - start));
  }
  return middle(took);
}

function middle(values: number[]): number {
  values.sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)] ?? Number.NaN;
}

function milliseconds(act: () => void): number {
  const start = performance.now();
  act();
  return performance.now() - start;
}
