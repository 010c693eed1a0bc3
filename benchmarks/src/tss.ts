/** tss.js 2.0.0 as a contender: the same commands, encoded and decoded by it, and sent over a transport of ours. */
import { srkTemplate, TPM_ALG, TPM_RH, type TpmTransport } from '@casemate/tpm';
import { loadPeer } from './peers.js';

/** How its results are labelled. */
export const tssName = 'tss.js 2.0.0';

/** A structure that was decoded. */
export interface TssStructure {
  /** It encoded again, without the handles of a response. */
  toBytes(): Uint8Array;
}

type ResponseType = new () => TssStructure;

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
  TPMS_PCR_SELECTION: new (algorithm: number, bits: Uint8Array) => unknown;
  CreatePrimaryResponse: ResponseType;
  PCR_ReadResponse: ResponseType;
}

type Done<T> = (error: unknown, result: T) => void;

interface TssTpm {
  device: { dispatchCommand(command: Uint8Array, done: Done<Uint8Array>): void };
  PCR_Extend(handle: unknown, digests: unknown[], done: () => void): void;
  CreatePrimary(...members: unknown[]): void;
  GetRandom(count: number, done: Done<Uint8Array>): void;
  PCR_Read(selections: unknown[], done: Done<TssStructure>): void;
  /** The tag of the command that a response must answer to. */
  sessTag: number;
  processResponse(buffer: unknown, type: ResponseType): unknown;
}

const tss = loadPeer('tss.js', '2.0.0') as Tss; // its type declarations are not installed with this repository

/** Commands encoded from structures that stand ready. */
export function tssEncoders(digest: Uint8Array): Readonly<Record<'PCR_Extend' | 'CreatePrimary', () => Uint8Array>> {
  const tpm = new tss.Tpm();
  let captured: Uint8Array = new Uint8Array();
  tpm.device = {
    dispatchCommand(command) {
      captured = command;
    },
  };
  const empty = Buffer.alloc(0); // it takes nothing but Buffers
  const [pcr, owner] = [new tss.TPM_HANDLE(16), new tss.TPM_HANDLE(TPM_RH.OWNER)];
  const digests = [new tss.TPMT_HA(TPM_ALG.SHA256, Buffer.from(digest))];
  const sensitive = new tss.TPMS_SENSITIVE_CREATE(empty, empty);
  const inPublic = rsaStorageKey();
  return {
    PCR_Extend() {
      tpm.PCR_Extend(pcr, digests, () => undefined);
      return captured;
    },
    CreatePrimary() {
      tpm.CreatePrimary(owner, sensitive, inPublic, empty, [], () => undefined);
      return captured;
    },
  };
}

/** Decodes `response` as if its command had just been sent. It answers null to what it refuses, which would measure nothing. */
export function tssDecoder(
  response: Uint8Array,
  type: 'CreatePrimaryResponse' | 'PCR_ReadResponse',
): () => TssStructure {
  const tpm = new tss.Tpm();
  const buffer = Buffer.from(response);
  tpm.sessTag = buffer.readUInt16BE(0);
  return () => {
    const decoded = tpm.processResponse(new tss.TpmBuffer(buffer), tss[type]);
    if (!(decoded instanceof tss[type])) throw new Error(`tss.js does not decode the response as ${type}`);
    return decoded;
  };
}

/** Commands sent over `transport`, each settled with what tss.js made of the response. */
export function tssCommands(transport: TpmTransport) {
  const tpm = new tss.Tpm();
  tpm.device = {
    dispatchCommand(command, done) {
      const view = ({ buffer, byteOffset, length }: Uint8Array) => Buffer.from(buffer, byteOffset, length);
      void transport.send(command).then((response) => done(null, view(response)));
    },
  };
  const settled = <T>(start: (done: Done<T>) => void): Promise<T> =>
    new Promise((resolve, reject) => start((error, result) => (error ? reject(error) : resolve(result))));
  const selection = [new tss.TPMS_PCR_SELECTION(TPM_ALG.SHA256, Buffer.from([0xff, 0, 0]))];
  return {
    getRandom: (count: number) => settled<Uint8Array>((done) => tpm.GetRandom(count, done)),
    pcrRead: () => settled<TssStructure>((done) => tpm.PCR_Read(selection, done)),
  };
}

function rsaStorageKey(): unknown {
  const symmetric = new tss.TPMT_SYM_DEF_OBJECT(TPM_ALG.AES, 128, TPM_ALG.CFB);
  const parameters = new tss.TPMS_RSA_PARMS(symmetric, new tss.TPMS_NULL_ASYM_SCHEME(), 2048, 0);
  const unique = new tss.TPM2B_PUBLIC_KEY_RSA(Buffer.alloc(256));
  const { objectAttributes } = srkTemplate('rsa-2048');
  return new tss.TPMT_PUBLIC(TPM_ALG.SHA256, objectAttributes, Buffer.alloc(0), parameters, unique);
}
