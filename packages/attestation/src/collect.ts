/** Collection: a device puts its evidence together for one challenge. */

import type { BankName } from '@casemate/firmware';
import { type Signer, signDocument } from '@casemate/pki';
import { quote, type Tpm, type TpmObject, TpmtPublic } from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { deviceProofData, evidenceNonce, palNonce } from './binding.js';
import { CHECK_NAMES, type CheckName } from './check.js';
import { AttestationError } from './error.js';
import {
  EVIDENCE_LIMITS,
  type Evidence,
  type Failure,
  type GuestOsEvidence,
  type OutputSource,
  type PalEvidence,
} from './evidence.js';
import type { MeasurementLog } from './measurement-log.js';
import type { PalCertificate } from './pal-certificate.js';
import { GUESTOS_PCR, PAL_PCR } from './statement.js';

/** A registered PAL, such as @casemate/trustvisor gives. */
export interface QuotingPal {
  /** TPMT_PUBLIC of its identity key. */
  readonly identity: Uint8Array;
  /** Quotes PCRs of its micro-TPM, PCR 0 without `pcrs`, with `nonce` as qualifyingData. */
  quote(
    nonce: Uint8Array,
    options?: { readonly pcrs?: readonly number[] },
  ): Promise<{ readonly quoted: Uint8Array; readonly signature: Uint8Array }>;
}

/** A PAL that is to quote itself. */
export interface PalSource {
  /** The PAL. */
  readonly pal: QuotingPal;
  /** What it gave out. */
  readonly output: Uint8Array;
  /** Who vouches for the output; `platform` without it. See {@link PalEvidence.outputBy}. */
  readonly outputBy?: OutputSource;
  /**
   * What the TrustVisor key says of the PAL (`Pal.certificate` of @casemate/trustvisor), where the log has that key. Without it the log
   * must have a statement of the PAL.
   */
  readonly certificate?: PalCertificate;
}

/** What evidence is collected from. */
export interface CollectOptions {
  /** The verifier's challenge, 16 to 64 bytes. */
  readonly nonce: Uint8Array;
  /** The attestation key, loaded: a restricted signing key. */
  readonly attestationKey: TpmObject;
  /** Its certificate first, then what issued it, without the root; DER. */
  readonly akCertificates: readonly Uint8Array[];
  /** Who the device is. */
  readonly device: {
    /** The device's certificate first, then what issued it, without the root; DER. */
    readonly certificates: readonly Uint8Array[];
    /** The key of the first certificate. */
    readonly signer: Signer;
  };
  /** The measurements since the TPM was reset. */
  readonly log: MeasurementLog;
  /** The firmware's event log of this boot, where there is one. It must have no event in PCRs 11 and 12. */
  readonly firmwareLog?: Uint8Array;
  /**
   * PCRs to quote by bank. Without it: 11 and 12 of sha256, and with a firmware log 0 to 9 as well. The logs must explain every one.
   */
  readonly pcrs?: { readonly [Bank in BankName]?: readonly number[] };
  /** Configuration and signature of every GuestOS in the log. */
  readonly guestOses?: readonly GuestOsEvidence[];
  /** The PALs that quote themselves, each with the output that it gave. */
  readonly pals?: readonly PalSource[];
  /** What ran in the containers: a text (JSON) that is opaque here. */
  readonly runRecord?: string;
  /** What the device found wrong. Leaving something out here is what a verifier cannot see; a device that reports is believed. */
  readonly failures?: readonly Failure[];
  /** What the device checked and found right. */
  readonly passed?: readonly CheckName[];
  /** Now, by the device's clock. */
  readonly time: Date;
}

const FIRMWARE_PCRS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/**
 * Collects evidence for `nonce`: the PALs quote themselves, then the TPM quotes the PCRs for a hash of the nonce and of the report,
 * then the device key signs
 * for the same hash. No measurement happens between the quote and the reading of the log. Throws
 * {@link AttestationError} `bad-input` for a nonce of another length, `PkiError` where the
 * signer is not the certified one, and what TPM, PALs and signer throw.
 */
export async function collectEvidence(tpm: Tpm, options: CollectOptions): Promise<Evidence> {
  assertNonce(options.nonce);
  const { nonce, log, device } = options;
  const report = {
    collectedAt: options.time.getTime(),
    deviceCertificates: device.certificates,
    runRecord: options.runRecord ?? '',
    failures: options.failures ?? [],
    passed: CHECK_NAMES.filter((name) => options.passed?.includes(name)),
  };
  const pals = await quotePals(options);
  const qualifyingData = evidenceNonce(nonce, report);
  const request = { nonce: qualifyingData, pcrs: options.pcrs ?? defaultPcrs(options) };
  const { quoted, eventLog } = await log.exclusive(async () => ({
    quoted: await quote(tpm, options.attestationKey, request),
    eventLog: log.bytes(),
  }));
  const deviceProof = await signDocument(deviceProofData(qualifyingData), {
    signer: device.signer,
    chain: device.certificates,
    time: options.time,
  });
  return {
    version: 1,
    nonce,
    ...report,
    akCertificates: options.akCertificates,
    attestationKey: encode(TpmtPublic, options.attestationKey.public),
    deviceProof,
    quote: { quoted: quoted.quoted, signature: quoted.signature, pcrs: quoted.pcrs },
    eventLog,
    ...(options.firmwareLog ? { firmwareLog: options.firmwareLog } : {}),
    guestOses: options.guestOses ?? [],
    pals,
  };
}

/** One after another, for a PAL's isolate may be the same process as the next one's. */
async function quotePals({ pals = [], nonce }: CollectOptions): Promise<readonly PalEvidence[]> {
  const collected: PalEvidence[] = [];
  for (const { pal, output, outputBy = 'platform', certificate } of pals) {
    const { quoted, signature } = await pal.quote(palNonce(nonce, output), { pcrs: outputBy === 'pal' ? [0, 1] : [0] });
    const about = { identityKey: pal.identity, quoted, signature, output, outputBy };
    collected.push(certificate ? { ...about, certificate } : about);
  }
  return collected;
}

function defaultPcrs({ firmwareLog }: CollectOptions): { readonly sha256: readonly number[] } {
  return { sha256: [...(firmwareLog ? FIRMWARE_PCRS : []), GUESTOS_PCR, PAL_PCR] };
}

function assertNonce(nonce: Uint8Array): void {
  const { min, max } = EVIDENCE_LIMITS.nonceBytes;
  if (nonce.length >= min && nonce.length <= max) return;
  throw new AttestationError(
    'bad-input',
    `collect evidence: expected a nonce of ${min} to ${max} bytes, got ${nonce.length}`,
  );
}
