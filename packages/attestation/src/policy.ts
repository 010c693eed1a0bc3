/** What a verifier accepts, as data: a policy is read from JSON, and everything in it narrows. */
import { CHECK_NAMES, type CheckName } from './check.js';
import {
  boolean,
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

/** A GuestOS that may run. */
export interface GuestOsRule {
  /** Its name. */
  readonly name: string;
  /** The lowest version that is accepted. */
  readonly minimumVersion: number;
  /** An extended key usage (dotted) that the signer's certificate must name, beside the signing of code. */
  readonly signerUsage?: string;
}

/** A PAL that may run. */
export interface PalRule {
  /** Its name. */
  readonly name: string;
  /** The accepted measurements, SHA-256 as lower-case hexadecimal digits. */
  readonly measurements: readonly string[];
  /** Whether evidence must hold a quote of it. */
  readonly required: boolean;
}

/** What evidence must say to be accepted. */
export interface Policy {
  /** Version of the format. */
  readonly version: 1;
  /** PCRs that the quote must cover, by bank. PCRs 11 and 12 of sha256 are always required. */
  readonly requiredPcrs: Readonly<Record<string, readonly number[]>>;
  /** Accepted values by bank and PCR, lower-case hexadecimal digits; a PCR that stands here is required. */
  readonly pcrValues?: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
  /** Every GuestOS that was measured must match the first of these with its name. */
  readonly guestOses: readonly GuestOsRule[];
  /** Whether at least one GuestOS must have been measured. */
  readonly guestOsRequired: boolean;
  /** Every PAL that was measured, or that quoted itself with a certificate, must match one of these. */
  readonly pals: readonly PalRule[];
  /** Self-checks that the device must have made and found right. */
  readonly requiredSelfChecks: readonly CheckName[];
  /** How long ago the evidence may have been collected. */
  readonly maximumAgeSeconds: number;
  /** How far the device's clock may be ahead. */
  readonly clockToleranceSeconds: number;
  /** Whether the TPM's clock must be safe: never reported higher before. */
  readonly safeClockRequired: boolean;
}

const bankName = /^(?:sha1|sha256|sha384|sha512|sha3_256|sha3_384|sha3_512)$/;
const pcr = integer(0, 31);
const digits = text(128, /^(?:[0-9a-f]{2}){20,64}$/);
const name = text(255);

const PolicyJson: JsonCodec<Policy> = object({
  version: oneOf([1]),
  requiredPcrs: dictionary(bankName, list(pcr, 32), 7),
  pcrValues: optional(dictionary(bankName, dictionary(/^(?:[0-9]|[12][0-9]|3[01])$/, list(digits, 256), 32), 7)),
  guestOses: list(
    object({
      name,
      minimumVersion: integer(0, Number.MAX_SAFE_INTEGER),
      signerUsage: optional(text(128, /^[0-2](?:\.(?:0|[1-9][0-9]*))+$/)),
    }),
    1024,
  ),
  guestOsRequired: boolean,
  pals: list(object({ name, measurements: list(text(64, /^[0-9a-f]{64}$/), 256), required: boolean }), 1024),
  requiredSelfChecks: list(oneOf(CHECK_NAMES), CHECK_NAMES.length),
  maximumAgeSeconds: integer(0, 10 * 365 * 86_400),
  clockToleranceSeconds: integer(0, 86_400),
  safeClockRequired: boolean,
});

/** Parses a policy from JSON, at most 4 Mi characters; unknown and missing members are refused. Throws {@link AttestationError} `malformed`. */
export function parsePolicy(json: string): Policy {
  return parseJson('policy', PolicyJson, json, 4 * 1024 * 1024);
}

/** The JSON form, one text for one value. */
export function encodePolicy(policy: Policy): string {
  return writeJson(PolicyJson, policy);
}
