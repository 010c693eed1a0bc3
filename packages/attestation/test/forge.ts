import { bankByName, encodeEventLog, initialPcrValue, type PcrBanks, replayEventLog } from '@casemate/firmware';
import { generateKey, type Signer, type SoftwareKey, signDocument } from '@casemate/pki';
import {
  TPM_ALG,
  TPM_ECC_CURVE,
  TPM_GENERATED_VALUE,
  TPM_ST,
  TPMA_OBJECT,
  TpmsAttest,
  TpmtPublic,
  TpmtSignature,
} from '@casemate/tpm';
import { encode } from '@casemate/wire';
import {
  deviceProofData,
  type Evidence,
  evidenceNonce,
  type PalEvidence,
  palNonce,
  type Statement,
} from '../src/index.js';
import { emptyLog, measurementEvent } from '../src/measurements.js';
import {
  encodePalCertificateClaims,
  type PalCertificate,
  palCertificateNonce,
  TRUSTVISOR_MEASUREMENT,
} from '../src/statements.js';
import { NONCE, NOW } from './platform.js';

/** The attributes of an honest attestation key. */
export const AK_ATTRIBUTES =
  TPMA_OBJECT.fixedTPM |
  TPMA_OBJECT.fixedParent |
  TPMA_OBJECT.sensitiveDataOrigin |
  TPMA_OBJECT.userWithAuth |
  TPMA_OBJECT.restricted |
  TPMA_OBJECT.sign;

/** A software key that poses as a TPM's: what a verifier meets when a key was certified that should not have been. */
export interface ForgedKey {
  readonly key: SoftwareKey;
  /** TPMT_PUBLIC. */
  readonly public: Uint8Array;
}

export async function forgeKey(objectAttributes = AK_ATTRIBUTES): Promise<ForgedKey> {
  const key = await generateKey('ecdsa-p256-sha256');
  const point = key.publicKey.slice(-64);
  const area: TpmtPublic = {
    type: TPM_ALG.ECC,
    nameAlg: TPM_ALG.SHA256,
    objectAttributes,
    authPolicy: new Uint8Array(0),
    parameters: {
      symmetric: { algorithm: TPM_ALG.NULL },
      scheme: { scheme: TPM_ALG.ECDSA, details: { hashAlg: TPM_ALG.SHA256 } },
      curveID: TPM_ECC_CURVE.NIST_P256,
      kdf: { scheme: TPM_ALG.NULL },
    },
    unique: { x: point.slice(0, 32), y: point.slice(32) },
  };
  return { key, public: encode(TpmtPublic, area) };
}

interface ForgedQuote {
  readonly qualifyingData: Uint8Array;
  readonly pcrs: PcrBanks;
  /** Changes the attestation before it is signed. */
  readonly change?: (attest: TpmsAttest) => TpmsAttest;
}

/** A quote over `pcrs`, made outside any TPM. */
async function forgeQuote(by: ForgedKey, { qualifyingData, pcrs, change = (same) => same }: ForgedQuote) {
  const values = Object.values(pcrs).flatMap((bank) => Object.values(bank ?? {}));
  const attest = change({
    magic: TPM_GENERATED_VALUE,
    type: TPM_ST.ATTEST_QUOTE,
    qualifiedSigner: new Uint8Array(34),
    extraData: qualifyingData,
    clockInfo: { clock: 1n, resetCount: 0, restartCount: 0, safe: true },
    firmwareVersion: 0n,
    attested: {
      pcrSelect: Object.entries(pcrs).map(([name, bank]) => ({
        hash: (bankByName(name)?.id ?? 0) as typeof TPM_ALG.SHA256,
        pcrSelect: bitmap(Object.keys(bank ?? {}).map(Number)),
      })),
      pcrDigest: bankByName('sha256')?.hash(...values) ?? new Uint8Array(0),
    },
  });
  const quoted = encode(TpmsAttest, attest);
  return { quoted, signature: await forgeSignature(by, quoted), pcrs };
}

async function forgeSignature(by: ForgedKey, data: Uint8Array): Promise<Uint8Array> {
  const { r, s } = derNumbers(await by.key.sign(data));
  const signature = { hash: TPM_ALG.SHA256, signatureR: r, signatureS: s };
  return encode(TpmtSignature, { sigAlg: TPM_ALG.ECDSA, signature });
}

export interface ForgedEvidence {
  readonly ak: ForgedKey;
  readonly akCertificates: readonly Uint8Array[];
  readonly device: { readonly certificates: readonly Uint8Array[]; readonly signer: Signer };
  readonly statements: readonly Statement[];
  readonly guestOses?: Evidence['guestOses'];
  readonly pals?: readonly PalEvidence[];
  /** PCRs of sha256 to quote. */
  readonly indexes?: readonly number[];
  /** PCR values that differ from what the log says. */
  readonly values?: Readonly<Record<number, Uint8Array>>;
  readonly change?: (attest: TpmsAttest) => TpmsAttest;
}

/** Evidence that only its keys vouch for: everything else in it is consistent. */
export async function forgeEvidence(options: ForgedEvidence): Promise<Evidence> {
  const banks = ['sha256'] as const;
  const log = { ...emptyLog(banks), events: options.statements.map((statement) => measurementEvent(banks, statement)) };
  const replayed = replayEventLog(log).sha256 ?? {};
  const indexes = options.indexes ?? [0, 7, 11, 12];
  const value = (index: number) => options.values?.[index] ?? replayed[index] ?? initialPcrValue('sha256', index);
  const pcrs = { sha256: Object.fromEntries(indexes.map((index) => [index, value(index)])) };
  const report = {
    collectedAt: NOW.getTime(),
    deviceCertificates: options.device.certificates,
    runRecord: '[]',
    failures: [],
    passed: ['sealed-state', 'replay'],
  } as const;
  const qualifyingData = evidenceNonce(NONCE, report);
  const change = options.change ? { change: options.change } : {};
  return {
    version: 1,
    nonce: NONCE,
    ...report,
    akCertificates: options.akCertificates,
    attestationKey: options.ak.public,
    deviceProof: await signDocument(deviceProofData(qualifyingData), {
      signer: options.device.signer,
      chain: options.device.certificates,
      time: NOW,
    }),
    quote: await forgeQuote(options.ak, { qualifyingData, pcrs, ...change }),
    eventLog: encodeEventLog(log),
    guestOses: options.guestOses ?? [],
    pals: options.pals ?? [],
  };
}

/** A PAL's evidence with `measurement` in PCR 0 of what poses as its micro-TPM. */
export async function forgePal(by: ForgedKey, measurement: Uint8Array, nonce = NONCE): Promise<PalEvidence> {
  const pcr0 = bankByName('sha256')?.hash(new Uint8Array(32), measurement) ?? new Uint8Array(0);
  const output = new Uint8Array(0);
  const { quoted, signature } = await forgeQuote(by, {
    qualifyingData: palNonce(nonce, output),
    pcrs: { sha256: { 0: pcr0 } },
  });
  return { identityKey: by.public, quoted, signature, output, outputBy: 'platform' };
}

/** What the TrustVisor key `by` says of the identity key `of`. */
export async function forgeCertificate(
  by: ForgedKey,
  of: ForgedKey,
  measurement: Uint8Array,
  inside = TRUSTVISOR_MEASUREMENT,
): Promise<PalCertificate> {
  const about = { name: 'counter', version: '1', measurement, identity: of.public };
  const statement = encodePalCertificateClaims({ ...about, sharedIdentity: false, signed: undefined });
  const pcr0 = bankByName('sha256')?.hash(new Uint8Array(32), inside) ?? new Uint8Array(0);
  const { quoted, signature } = await forgeQuote(by, {
    qualifyingData: palCertificateNonce(statement),
    pcrs: { sha256: { 0: pcr0 } },
  });
  return { statement, quoted, signature };
}

function bitmap(indexes: readonly number[]): Uint8Array {
  const bits = new Uint8Array(3);
  for (const index of indexes) bits[index >> 3] = (bits[index >> 3] ?? 0) | (1 << (index & 7));
  return bits;
}

/** The two numbers of a DER ECDSA-Sig-Value for P-256, 32 bytes each. */
function derNumbers(der: Uint8Array): { readonly r: Uint8Array; readonly s: Uint8Array } {
  const rLength = der[3] ?? 0;
  const number = (start: number, length: number) => {
    const padded = new Uint8Array(32);
    const digits = der.slice(start, start + length).slice(-32);
    padded.set(digits, 32 - digits.length);
    return padded;
  };
  return { r: number(4, rLength), s: number(6 + rLength, der[5 + rLength] ?? 0) };
}
