/** `@casemate/tpm` beside tss.js 2.0.0: commands encoded from structures, responses decoded, round trips to one swtpm. */
import {
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
import { loadPeer, startSwtpm } from './peers.js';
import { compare, flags, timeBatch } from './turns.js';

const area = 'tpm';
const rounds = flags.quick ? 5 : 25;

/** The parts of tss.js that are measured. */
interface Tss {
  Tpm: new () => TssTpm;
  TpmBuffer: new (bytes: Uint8Array) => unknown;
  TPM_HANDLE: new (handle: number) => unknown;
  TPMT_HA: new (algorithm: number, digest: Uint8Array) => unknown;
  TPMT_PUBLIC: new (...members: unknown[]) => unknown;
  TPMS_RSA_PARMS: new (...members: unknown[]) => unknown;
  TPMT_SYM_DEF_OBJECT: new (...members: unknown[]) => unknown;
  TPMS_NULL_ASYM_SCHEME: new () => unknown;
  TPM2B_PUBLIC_KEY_RSA: new (modulus: Uint8Array) => unknown;
  TPMS_SENSITIVE_CREATE: new (...members: unknown[]) => unknown;
  TPMS_PCR_SELECTION: new (...members: unknown[]) => unknown;
  CreatePrimaryResponse: new () => unknown;
  PCR_ReadResponse: new () => unknown;
}

interface TssTpm {
  device: { dispatchCommand(command: Uint8Array, done: (response: Uint8Array) => void): void };
  PCR_Extend(handle: unknown, digests: unknown[], done: () => void): void;
  CreatePrimary(...members: unknown[]): void;
  GetRandom(count: number, done: (error: unknown, random: Uint8Array) => void): void;
  /** The tag of the command that a response must answer to. */
  sessTag: number;
  processResponse(buffer: unknown, type: new () => unknown): unknown;
}

const tss = loadPeer('tss.js', '2.0.0') as Tss; // its type declarations are not installed with this repository
const theirs = new tss.Tpm();
let captured = new Uint8Array();
theirs.device = {
  dispatchCommand(command) {
    captured = new Uint8Array(command);
  },
};

const digest = new Uint8Array(32).fill(7);
const tssDigest = Buffer.from(digest); // it takes nothing but a Buffer
const template = srkTemplate('rsa-2048');
const password = { sessionHandle: TPM_RS.PW, nonce: new Uint8Array(), sessionAttributes: 1, hmac: new Uint8Array() };
const digests = [{ hashAlg: TPM_ALG.SHA256, digest }] as const;

function encodeExtend(): Uint8Array {
  return encodeRequest(PcrExtend, { handles: [16], auths: [password], parameters: { digests } });
}

/** Decodes with tss.js as if the command had just been sent; it answers null to what it refuses, which would measure nothing. */
function decodeTheirs(bytes: Uint8Array, type: new () => unknown): () => unknown {
  const peer = new tss.Tpm();
  peer.sessTag = new DataView(bytes.buffer, bytes.byteOffset).getUint16(0);
  const response = Buffer.from(bytes);
  const run = (): unknown => peer.processResponse(new tss.TpmBuffer(response), type);
  if (!(run() instanceof type)) throw new Error(`tss.js does not decode the response as ${type.name}`);
  return run;
}

function encodeCreatePrimary(): Uint8Array {
  const parameters = {
    inSensitive: { userAuth: new Uint8Array(), data: new Uint8Array() },
    inPublic: template,
    outsideInfo: new Uint8Array(),
    creationPCR: [],
  };
  return encodeRequest(CreatePrimary, { handles: [TPM_RH.OWNER], auths: [password], parameters });
}

function tssExtend(): Uint8Array {
  theirs.PCR_Extend(new tss.TPM_HANDLE(16), [new tss.TPMT_HA(TPM_ALG.SHA256, tssDigest)], () => undefined);
  return captured;
}

function tssCreatePrimary(): Uint8Array {
  const symmetric = new tss.TPMT_SYM_DEF_OBJECT(TPM_ALG.AES, 128, TPM_ALG.CFB);
  const parameters = new tss.TPMS_RSA_PARMS(symmetric, new tss.TPMS_NULL_ASYM_SCHEME(), 2048, 0);
  const unique = new tss.TPM2B_PUBLIC_KEY_RSA(Buffer.alloc(256));
  const attributes = template.objectAttributes;
  const empty = Buffer.alloc(0);
  const inPublic = new tss.TPMT_PUBLIC(TPM_ALG.SHA256, attributes, empty, parameters, unique);
  const sensitive = new tss.TPMS_SENSITIVE_CREATE(empty, empty);
  theirs.CreatePrimary(new tss.TPM_HANDLE(TPM_RH.OWNER), sensitive, inPublic, empty, [], () => undefined);
  return captured;
}

const swtpm = await startSwtpm();
try {
  const transport = await connectSwtpm({ host: '127.0.0.1', port: swtpm.port });
  assertSame('PCR_Extend', encodeExtend(), tssExtend());
  assertSame('CreatePrimary', encodeCreatePrimary(), tssCreatePrimary());
  await codecs(transport);
  await roundTrips(transport);
  await transport.close();
} finally {
  swtpm.stop();
}

async function codecs(transport: TpmTransport): Promise<void> {
  const created = await transport.send(encodeCreatePrimary());
  const selection = { pcrSelectionIn: [{ hash: TPM_ALG.SHA256, pcrSelect: Uint8Array.of(0xff, 0, 0) }] };
  const read = await transport.send(encodeRequest(PcrRead, { handles: [], auths: [], parameters: selection }));
  const decodeOurs = (command: typeof CreatePrimary | typeof PcrRead, bytes: Uint8Array) => (): unknown =>
    decodeAnswer(command, bytes);
  const pairs: [string, () => unknown, () => unknown][] = [
    ['encode PCR_Extend', encodeExtend, tssExtend],
    ['encode CreatePrimary', encodeCreatePrimary, tssCreatePrimary],
    [
      'decode CreatePrimary response',
      decodeOurs(CreatePrimary, created),
      decodeTheirs(created, tss.CreatePrimaryResponse),
    ],
    ['decode PCR_Read response', decodeOurs(PcrRead, read), decodeTheirs(read, tss.PCR_ReadResponse)],
  ];
  for (const [name, ours, peer] of pairs) {
    await compare({
      area,
      name,
      unit: 'ns',
      better: 'lower',
      rounds,
      ours: () => timeBatch(ours),
      theirs: { 'tss.js 2.0.0': () => timeBatch(peer) },
    });
  }
}

async function roundTrips(transport: TpmTransport): Promise<void> {
  const tpm = new Tpm(transport);
  const count = flags.quick ? 100 : 1000;
  theirs.device = {
    dispatchCommand(command, done) {
      void transport.send(new Uint8Array(command)).then((response) => done(Buffer.from(response)));
    },
  };
  const random = (): Promise<Uint8Array> =>
    new Promise((resolve) => theirs.GetRandom(32, (_error, bytes) => resolve(bytes)));
  await compare({
    area,
    name: 'round trip GetRandom(32) to swtpm',
    unit: 'us',
    better: 'lower',
    rounds: flags.quick ? 3 : 11,
    ours: () => timeEach(count, () => tpm.execute(GetRandom, { bytesRequested: 32 })),
    theirs: { 'tss.js 2.0.0 over the same connection': () => timeEach(count, random) },
  });
}

async function timeEach(count: number, act: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < count; i++) await act();
  return ((performance.now() - start) * 1000) / count;
}

/** The two must do the same work, or the comparison says nothing. */
function assertSame(name: string, ours: Uint8Array, peers: Uint8Array): void {
  if (Buffer.compare(Buffer.from(ours), Buffer.from(peers)) !== 0) {
    throw new Error(
      `${name}: the two encode differently:\n${Buffer.from(ours).toString('hex')}\n${Buffer.from(peers).toString('hex')}`,
    );
  }
}
