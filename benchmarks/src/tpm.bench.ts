/**
 * `@casemate/tpm` beside tss.js 2.0.0: commands encoded from structures, responses decoded, round trips to one swtpm,
 * and how long a fresh process takes to import each.
 */
import {
  type AnyCommand,
  CreatePrimary,
  decodeAnswer,
  encodeRequest,
  GetRandom,
  PcrExtend,
  PcrRead,
  srkTemplate,
  TPM_ALG,
  TPM_RH,
  TPM_RS,
  Tpm,
  type TpmTransport,
} from '@casemate/tpm';
import { connectSwtpm } from '@casemate/tpm/swtpm';
import { encode } from '@casemate/wire';
import { timeImport, timeProcess } from './imports.js';
import { startSwtpm } from './peers.js';
import { tssCommands, tssDecoder, tssEncoders, tssName } from './tss.js';
import { compare, flags, timeBatch } from './turns.js';

const area = 'tpm';
const digest = new Uint8Array(32).fill(7);
const empty = new Uint8Array(0);
const password = { sessionHandle: TPM_RS.PW, nonce: empty, sessionAttributes: 1, hmac: empty };
// The structures stand ready on both sides: what is measured is their encoding.
const extension = { digests: [{ hashAlg: TPM_ALG.SHA256, digest }] } as const;
const creation = {
  inSensitive: { userAuth: empty, data: empty },
  inPublic: srkTemplate('rsa-2048'),
  outsideInfo: empty,
  creationPCR: [],
};
const selection = { pcrSelectionIn: [{ hash: TPM_ALG.SHA256, pcrSelect: Uint8Array.of(0xff, 0, 0) }] };

const swtpm = await startSwtpm();
try {
  const transport = await connectSwtpm({ host: '127.0.0.1', port: swtpm.port });
  await encoding();
  await decoding(transport);
  await roundTrips(transport);
  await transport.close();
} finally {
  swtpm.stop();
}
await imports();

async function encoding(): Promise<void> {
  const theirs = tssEncoders(digest);
  for (const [name, ours, peer] of [
    ['PCR_Extend', encodeExtend, theirs.PCR_Extend],
    ['CreatePrimary', encodeCreatePrimary, theirs.CreatePrimary],
  ] as const) {
    assertSame(`encode ${name}`, ours(), peer());
    await nanoseconds(`encode ${name}`, ours, peer);
  }
}

async function decoding(transport: TpmTransport): Promise<void> {
  const created = await transport.send(encodeCreatePrimary());
  const read = await transport.send(encodeRequest(PcrRead, { handles: [], auths: [], parameters: selection }));
  for (const [name, command, response, type] of [
    ['decode CreatePrimary response', CreatePrimary, created, 'CreatePrimaryResponse'],
    ['decode PCR_Read response', PcrRead, read, 'PCR_ReadResponse'],
  ] as const) {
    const theirs = tssDecoder(response, type);
    assertSame(name, decodedAndEncoded(command, response), theirs().toBytes());
    await nanoseconds(name, () => decodeAnswer(command, response), theirs);
  }
}

/** Both over one connection, so that what differs is what stands above it. */
async function roundTrips(transport: TpmTransport): Promise<void> {
  const tpm = new Tpm(transport);
  const theirs = tssCommands(transport);
  const bytesRequested = 32;
  await microseconds(
    'round trip GetRandom(32) to swtpm',
    async () => assertLength((await tpm.execute(GetRandom, { bytesRequested })).randomBytes, bytesRequested),
    async () => assertLength(await theirs.getRandom(bytesRequested), bytesRequested),
  );
  const read = await tpm.execute(PcrRead, selection);
  assertSame('PCR_Read', encode(PcrRead.response, read), (await theirs.pcrRead()).toBytes());
  await microseconds('round trip PCR_Read(8) to swtpm', () => tpm.execute(PcrRead, selection), theirs.pcrRead);
}

/** The whole 2.0 API, as Node finds it. Fresh processes, in turn. */
async function imports(): Promise<void> {
  const rounds = flags.quick ? 5 : 20;
  const shape = { area, unit: 'ms', better: 'lower', rounds } as const;
  const ours = '@casemate/tpm';
  const theirs = 'tss.js';
  const name = 'import the whole API in a fresh process';
  await compare({ ...shape, name, ours: () => timeImport(ours), theirs: { [tssName]: () => timeImport(theirs) } });
  await compare({
    ...shape,
    name: 'a process that does nothing but import',
    ours: () => timeProcess(ours),
    theirs: { [tssName]: () => timeProcess(theirs), 'a process that imports nothing': () => timeProcess(undefined) },
  });
}

function nanoseconds(name: string, ours: () => unknown, peer: () => unknown): Promise<void> {
  // Until the engine has compiled both for speed.
  for (const operation of [ours, peer]) timeBatch(operation, 300);
  const theirs = { [tssName]: () => timeBatch(peer) };
  return compare({
    ...{ area, name, unit: 'ns', better: 'lower' },
    ...{ rounds: flags.quick ? 5 : 25, ours: () => timeBatch(ours), theirs },
  });
}

function microseconds(name: string, ours: () => Promise<unknown>, peer: () => Promise<unknown>): Promise<void> {
  // Turns shorter than the scheduler's: most of them run undisturbed, even on a machine that is shared.
  const count = 50;
  return compare({
    area,
    name,
    unit: 'us',
    better: 'lower',
    rounds: flags.quick ? 41 : 201,
    ours: () => timeEach(count, ours),
    theirs: { [`${tssName} over the same connection`]: () => timeEach(count, peer) },
  });
}

async function timeEach(count: number, act: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < count; i++) await act();
  return ((performance.now() - start) * 1000) / count;
}

function encodeExtend(): Uint8Array {
  return encodeRequest(PcrExtend, { handles: [16], auths: [password], parameters: extension });
}

function encodeCreatePrimary(): Uint8Array {
  return encodeRequest(CreatePrimary, { handles: [TPM_RH.OWNER], auths: [password], parameters: creation });
}

function decodedAndEncoded(command: AnyCommand, response: Uint8Array): Uint8Array {
  const { parameters } = decodeAnswer(command, response);
  if (parameters === undefined) throw new Error(`${command.name}: the TPM refused`);
  return encode(command.response, parameters);
}

/** The two must do the same work, or the comparison says nothing. */
function assertSame(name: string, ours: Uint8Array, peers: Uint8Array): void {
  const [a, b] = [ours, peers].map((bytes) => Buffer.from(bytes).toString('hex'));
  if (a !== b) throw new Error(`${name}: the two differ:\n${a}\n${b}`);
}

function assertLength(bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw new Error(`GetRandom: expected ${length} bytes, got ${bytes.length}`);
}
