/** Basic types. TPM 1.2 Main Part 2, clauses 2 and 5.1 to 5.6. */
import { bytes, type Codec, type Infer, mapped, oneOf, sizedBytes, struct, u8, u16, u32 } from '@casemate/wire';

/** A truth value; 0 or 1 on the wire and nothing else. TPM 1.2 Part 2, clause 2.2.2. */
export const TpmBool: Codec<boolean> = mapped(
  'TPM_BOOL',
  oneOf('TPM_BOOL', u8, [0, 1]),
  (value) => value === 1,
  (value) => (value ? 1 : 0),
);
/** The value type of {@link TpmBool}. */
export type TpmBool = Infer<typeof TpmBool>;

/** A SHA-1 digest. TPM 1.2 Part 2, clause 5.4. */
export const TpmDigest = bytes('TPM_DIGEST', 20);
/** The value type of {@link TpmDigest}. */
export type TpmDigest = Infer<typeof TpmDigest>;

/** 20 bytes that are used once. TPM 1.2 Part 2, clause 5.5. */
export const TpmNonce = bytes('TPM_NONCE', 20);
/** The value type of {@link TpmNonce}. */
export type TpmNonce = Infer<typeof TpmNonce>;

/** An HMAC or a secret of an entity. TPM 1.2 Part 2, clause 5.6. */
export const TpmAuthdata = bytes('TPM_AUTHDATA', 20);
/** The value type of {@link TpmAuthdata}. */
export type TpmAuthdata = Infer<typeof TpmAuthdata>;

/** A new secret of an entity, encrypted by the session it travels in. TPM 1.2 Part 2, clause 5.6. */
export const TpmEncauth = bytes('TPM_ENCAUTH', 20);
/** The value type of {@link TpmEncauth}. */
export type TpmEncauth = Infer<typeof TpmEncauth>;

/** The version of a structure of TPM 1.1, always 1.1.0.0. TPM 1.2 Part 2, clause 5.1. */
export const TpmStructVer = struct('TPM_STRUCT_VER', {
  major: oneOf('TPM_STRUCT_VER', u8, [1]),
  minor: oneOf('TPM_STRUCT_VER', u8, [1]),
  revMajor: u8,
  revMinor: u8,
});
/** The value type of {@link TpmStructVer}. */
export type TpmStructVer = Infer<typeof TpmStructVer>;

/** What {@link TpmStructVer} is in everything that is made today. */
export const VERSION_1_1: TpmStructVer = { major: 1, minor: 1, revMajor: 0, revMinor: 0 };

/** The version of a TPM. TPM 1.2 Part 2, clause 5.3. */
export const TpmVersion = struct('TPM_VERSION', { major: u8, minor: u8, revMajor: u8, revMinor: u8 });
/** The value type of {@link TpmVersion}. */
export type TpmVersion = Infer<typeof TpmVersion>;

/** The longest byte string within a command or response: as long as those are. */
export const MAX_DATA = 4096;

/** A byte string behind its length in 32 bits. */
/* @__NO_SIDE_EFFECTS__ */
export function sizedData(name: string, max: number = MAX_DATA): Codec<Uint8Array> {
  return sizedBytes(name, u32, { max });
}

/** A byte string behind its length in 16 bits. */
/* @__NO_SIDE_EFFECTS__ */
export function shortSizedData(name: string, max: number = MAX_DATA): Codec<Uint8Array> {
  return sizedBytes(name, u16, { max });
}
