/** The bundle that a device hands to a verifier, and its JSON form. Everything in it is a claim until `verifyEvidence` has been through it. */
import type { PcrBanks } from '@casemate/firmware';
import { CHECK_NAMES, type CheckName } from './check.js';
import {
  base64,
  dictionary,
  integer,
  type JsonCodec,
  list,
  object,
  oneOf,
  optional,
  parseJson,
  text,
  writeJson,
} from './json-codec.js';
import type { PalCertificate } from './pal-certificate.js';

/** Bounds on evidence. */
export const EVIDENCE_LIMITS = {
  /** Characters of the JSON text. */
  characters: 64 * 1024 * 1024,
  /** Bytes of the challenge: at least, at most. */
  nonceBytes: { min: 16, max: 64 },
  /** Certificates of a chain. */
  certificates: 8,
  /** Bytes of a certificate. */
  certificateBytes: 16 * 1024,
  /** Bytes of a log. */
  logBytes: 8 * 1024 * 1024,
  /** GuestOS configurations. */
  guestOses: 64,
  /** Bytes of a configuration, and of a signature. */
  documentBytes: 1024 * 1024,
  /** PALs. */
  pals: 64,
  /** Bytes of what a PAL gave out. */
  outputBytes: 64 * 1024,
  /** UTF-16 units of the run record. */
  runRecordCharacters: 4 * 1024 * 1024,
  /** Failures that a device reports. */
  failures: 64,
} as const;

/** What a TPM signed, and the PCR values that it covers. */
export interface QuoteEvidence {
  /** TPMS_ATTEST. */
  readonly quoted: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  /** The values of exactly the PCRs that the quote selects. */
  readonly pcrs: PcrBanks;
}

/** A GuestOS as it was signed. */
export interface GuestOsEvidence {
  /** The configuration, byte for byte. */
  readonly configuration: Uint8Array;
  /** Detached CMS signature over it, DER. */
  readonly signature: Uint8Array;
}

/** Who vouches for what a PAL is said to have given out; see {@link PalEvidence.outputBy}. */
export type OutputSource = 'platform' | 'pal';

/** What a PAL says of itself. Its measurement is not here: that is in the platform's log, or in the certificate. */
export interface PalEvidence {
  /** TPMT_PUBLIC of the identity key of the PAL's micro-TPM. */
  readonly identityKey: Uint8Array;
  /** TPMS_ATTEST over the micro-TPM's PCR 0 (and 1), made for `palNonce(nonce, output)`. */
  readonly quoted: Uint8Array;
  /** TPMT_SIGNATURE by the identity key. */
  readonly signature: Uint8Array;
  /** What the PAL gave out and the quote was made for, such as a counter; may be empty. */
  readonly output: Uint8Array;
  /**
   * Who vouches for `output`. `platform`: the program that asked for the quote says so. `pal`: the PAL itself extended PCR 1 of its
   * micro-TPM, which nobody else can, with the SHA-256 of the output, and the quote covers PCRs 0 and 1.
   */
  readonly outputBy: OutputSource;
  /**
   * What the TrustVisor key, which then must stand in the log, says of the identity key. Without one the log itself must name the PAL
   * and its identity key.
   */
  readonly certificate?: PalCertificate;
}

/** Something that the device itself found wrong. */
export interface Failure {
  /** The check that it made. */
  readonly name: CheckName;
  /** What it found, at most 1024 characters. */
  readonly detail: string;
}

/** What the device says of itself and the TPM only vouches for by its quote's qualifyingData. */
export interface EvidenceReport {
  /** When it was collected: milliseconds since 1970-01-01 UTC by the device's clock. */
  readonly collectedAt: number;
  /** Device certificate first, then what issued it, without the root; DER. */
  readonly deviceCertificates: readonly Uint8Array[];
  /** What ran in the containers: a text (JSON) that is opaque here. */
  readonly runRecord: string;
  /** What the device found wrong. */
  readonly failures: readonly Failure[];
  /** Which checks the device made and found right. */
  readonly passed: readonly CheckName[];
}

/** Evidence of one platform for one challenge. */
export interface Evidence extends EvidenceReport {
  /** Version of the format. */
  readonly version: 1;
  /** The verifier's challenge. */
  readonly nonce: Uint8Array;
  /** Certificate of the attestation key first, then what issued it, without the root; DER. */
  readonly akCertificates: readonly Uint8Array[];
  /** TPMT_PUBLIC of the attestation key; the certificate says the same key. */
  readonly attestationKey: Uint8Array;
  /** Detached CMS signature, DER, over `deviceProofData` of the quote's qualifyingData by the key of the device certificate. */
  readonly deviceProof: Uint8Array;
  /** The platform TPM's quote. */
  readonly quote: QuoteEvidence;
  /** Our measurement log: crypto-agile TCG event log. */
  readonly eventLog: Uint8Array;
  /** The firmware's log of the same boot, where the platform has one: crypto-agile TCG event log. */
  readonly firmwareLog?: Uint8Array;
  /** Every GuestOS that was measured. */
  readonly guestOses: readonly GuestOsEvidence[];
  /** The PALs that gave a quote. */
  readonly pals: readonly PalEvidence[];
}

const limits = EVIDENCE_LIMITS;
const certificates = list(base64({ min: 1, max: limits.certificateBytes }), limits.certificates);
const structure = base64({ min: 1, max: 2048 });
const document = base64({ min: 1, max: limits.documentBytes });
const checkName = oneOf(CHECK_NAMES);
// A whole PCR bank of TPM 2.0 has 24 PCRs; implementations stop at 32.
const bank = dictionary(/^(?:[0-9]|[12][0-9]|3[01])$/, base64({ min: 20, max: 64 }), 32);
const banks: JsonCodec<PcrBanks> = dictionary(/^(?:sha1|sha256|sha384|sha512|sha3_256|sha3_384|sha3_512)$/, bank, 7);

const reportMembers = {
  collectedAt: integer(0, Number.MAX_SAFE_INTEGER),
  deviceCertificates: certificates,
  runRecord: text(limits.runRecordCharacters),
  failures: list(object({ name: checkName, detail: text(1024) }), limits.failures),
  passed: list(checkName, CHECK_NAMES.length),
};

/** The report alone; its one text is what the quote's qualifyingData is made of. */
export const ReportJson: JsonCodec<EvidenceReport> = object(reportMembers);

const EvidenceJson: JsonCodec<Evidence> = object({
  version: oneOf([1]),
  nonce: base64(limits.nonceBytes),
  ...reportMembers,
  akCertificates: certificates,
  attestationKey: structure,
  deviceProof: base64({ min: 1, max: limits.certificates * limits.certificateBytes }),
  quote: object({ quoted: structure, signature: structure, pcrs: banks }),
  eventLog: base64({ max: limits.logBytes }),
  firmwareLog: optional(base64({ max: limits.logBytes })),
  guestOses: list(object({ configuration: document, signature: document }), limits.guestOses),
  pals: list(
    object({
      identityKey: structure,
      quoted: structure,
      signature: structure,
      output: base64({ max: limits.outputBytes }),
      outputBy: oneOf(['platform', 'pal']),
      certificate: optional(object({ statement: structure, quoted: structure, signature: structure })),
    }),
    limits.pals,
  ),
});

/**
 * Parses the JSON form. Strict: unknown or missing members, other types, base64 that is not canonical and anything beyond
 * {@link EVIDENCE_LIMITS} are refused. Whoever sent it is not trusted. Throws {@link AttestationError} `malformed`.
 */
export function parseEvidence(json: string): Evidence {
  return parseJson('evidence', EvidenceJson, json, limits.characters);
}

/** The JSON form, one text for one value. */
export function encodeEvidence(evidence: Evidence): string {
  return writeJson(EvidenceJson, evidence);
}
