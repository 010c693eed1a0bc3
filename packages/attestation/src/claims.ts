/** What evidence says once it is verified: typed facts, each there only where the check that it rests on held. */
import type { PcrBanks } from '@casemate/firmware';
import type { CheckName } from './check.js';
import type { Failure, OutputSource } from './evidence.js';
import type { Measurement } from './measurements.js';
import type { PalCertificateClaims } from './pal-certificate.js';

/** Whose key a certificate certifies. */
export interface CertifiedKey {
  /** The certificate, DER. */
  readonly certificate: Uint8Array;
  /** Its subject as text, most specific attribute last, such as `CN=…`. */
  readonly subject: string;
  /** Its URI alternative names, such as `urn:uuid:…`. */
  readonly uris: readonly string[];
}

/** What a platform quote says. */
export interface QuoteClaims {
  /** The values of exactly the PCRs that were quoted. */
  readonly pcrs: PcrBanks;
  /** Qualified Name of the signing key: which hierarchy and parents it has. */
  readonly qualifiedSigner: Uint8Array;
  /** Milliseconds that the TPM has been powered since it was made or cleared. */
  readonly clock: bigint;
  /** Resets of the TPM; hidden behind a constant of the TPM where the key is not in the endorsement or platform hierarchy. */
  readonly resetCount: number;
  /** Restarts and resumes since the last reset; hidden likewise. */
  readonly restartCount: number;
  /** Whether no higher clock value can have been reported before. */
  readonly safe: boolean;
  /** The TPM vendor's firmware version; hidden likewise. */
  readonly firmwareVersion: bigint;
}

/** A GuestOS that was measured before it ran, with its signed configuration. */
export interface GuestOsClaims {
  /** Name from the signed configuration. */
  readonly name: string;
  /** Version from the signed configuration. */
  readonly version: number;
  /** SHA-256 of the configuration. */
  readonly configDigest: Uint8Array;
  /** Digest of the image. */
  readonly imageDigest: Uint8Array;
  /** Who signed the configuration. */
  readonly signer: CertifiedKey & {
    /** Extended key usages of the signer's certificate, dotted. */
    readonly extendedKeyUsage: readonly string[];
  };
}

/** A PAL that quoted itself. */
export interface PalClaims {
  /** Name from the PAL image. */
  readonly name: string;
  /** Version from the PAL image. */
  readonly version: string;
  /** SHA-256 measurement of the PAL image. */
  readonly measurement: Uint8Array;
  /** TPMT_PUBLIC of its identity key. */
  readonly identityKey: Uint8Array;
  /** What the quote was made for. */
  readonly output: Uint8Array;
  /** Who vouches for `output`: the platform's program, or the PAL's own code. */
  readonly outputBy: OutputSource;
  /** What the TrustVisor key certified of it; `undefined` where the platform itself measured the PAL into its log. */
  readonly certified: PalCertificateClaims | undefined;
}

/**
 * What verified evidence claims. A member that rests on a check that failed is `undefined`, never a guess. Claims are worth
 * something only together with the checks: see `verdict`.
 */
export interface Claims {
  /** The verifier's time of verification, milliseconds since 1970-01-01 UTC. */
  readonly verifiedAt: number;
  /** Rests on `certificate`. */
  readonly attestationKey: CertifiedKey | undefined;
  /** Rests on `certificate`. */
  readonly device: CertifiedKey | undefined;
  /** Rests on `quote`. */
  readonly quote: QuoteClaims | undefined;
  /** What the device says of itself; rests on `quote`. */
  readonly report:
    | {
        /** Milliseconds since 1970-01-01 UTC by the device's clock. */
        readonly collectedAt: number;
        /** What ran, as the device recorded it. */
        readonly runRecord: string;
        /** What the device found wrong. */
        readonly failures: readonly Failure[];
        /** What the device checked and found right. */
        readonly passed: readonly CheckName[];
      }
    | undefined;
  /** Everything that was measured, in order; rests on `event-log`. */
  readonly measurements: readonly Measurement[] | undefined;
  /** TPMT_PUBLIC of the TrustVisor key, where exactly one was measured; rests on `event-log`. */
  readonly trustvisorKey: Uint8Array | undefined;
  /** Rests on `config`, `image` and `signature`. */
  readonly guestOses: readonly GuestOsClaims[] | undefined;
  /** Rests on `pal`. */
  readonly pals: readonly PalClaims[] | undefined;
}
