/** Quotes, certificates, signatures and hashes: Part 3, clauses 15.4, 18 and 20; Part 1, clause 31. */
import { concat, EMPTY, isEqual, readU32, readU64, u16Bytes, u32Bytes } from '../bytes.js';
import type { EccPrivateKey, SigningInput } from '../crypto.js';
import { FIRMWARE_VERSION } from '../version.js';
import { type Answer, answer, type Call, type Command } from './command.js';
import {
  NIST_P256,
  TPM_ALG,
  TPM_CC,
  TPM_GENERATED_VALUE,
  TPM_HT,
  TPM_RC,
  TPM_RH,
  TPM_ST,
  TPMA_OBJECT,
} from './constants.js';
import { hmac, kdfA, sha256 } from './crypto.js';
import { objectAt } from './entity.js';
import { type Input, Output, refuseHandle, refuseParameter, sized } from './octets.js';
import { encodeSelection, pcrDigest, readSelection } from './pcr.js';
import { has, pointOf, readScheme } from './public-area.js';
import { clockOf, hierarchyOf, type Micro, type MicroObject } from './state.js';

/** The key of a handle, which must sign with ECDSA and SHA-256: by its own scheme, or by the one that is asked for. */
function signerAt(tpm: Micro, handle: number, isAsked: boolean, places: { readonly handle: number }): MicroObject {
  const signer = tpm.objects.get(handle) ?? refuseHandle(TPM_RC.KEY, places.handle);
  if (signer.area.type !== TPM_ALG.ECC || !has(signer.area, TPMA_OBJECT.sign)) refuseHandle(TPM_RC.KEY, places.handle);
  if (has(signer.area, TPMA_OBJECT.x509sign)) refuseHandle(TPM_RC.ATTRIBUTES, places.handle);
  if (!isAsked && !signer.area.isEcdsa) refuseParameter(TPM_RC.SCHEME, 2);
  return signer;
}

/** Bytes of a TPMT_SIGNATURE. */
const SIGNATURE = 2 + 2 + 2 * (2 + 32);

/** Writes a TPMT_SIGNATURE over a digest, which is of `message` where the TPM has that. */
function sign({ crypto }: Micro, { area, secret }: MicroObject, input: SigningInput, out: Output): void {
  const { r, s } = crypto.ecdsaSign(signingKey(area, secret), input);
  out.u16(TPM_ALG.ECDSA).u16(TPM_ALG.SHA256).sized(r).sized(s);
}

/** One object for each key: a provider keeps what it made of a key by that, and OpenSSL takes longer to read a key than to sign. */
function signingKey(area: MicroObject['area'], secret: Uint8Array): EccPrivateKey {
  const known = signingKeys.get(secret);
  if (known !== undefined) return known;
  const key = { curve: NIST_P256, d: secret, ...pointOf(area) };
  signingKeys.set(secret, key);
  return key;
}

const signingKeys = new WeakMap<Uint8Array, EccPrivateKey>();

/** TPM2B_ATTEST and TPMT_SIGNATURE; `attested` writes the last `size` bytes of the TPMS_ATTEST (Part 2, 10.12.12). */
function attest(tpm: Micro, signer: MicroObject, { tag, extraData, size, attested }: Statement): Answer {
  const { qualifiedName } = signer;
  const clock = clockOf(tpm);
  const hidden = obscure(tpm, signer);
  const length = 4 + 2 + 2 + qualifiedName.length + 2 + extraData.length + 17 + 8 + size;
  const out = new Output(2 + length + SIGNATURE).u16(length);
  out.u32(TPM_GENERATED_VALUE).u16(tag).sized(qualifiedName).sized(extraData);
  out
    .u64(clock)
    .u32((tpm.permanent.resetCount + hidden.resets) >>> 0)
    .u32(hidden.restarts);
  out.u8(Number(tpm.isClockSafe)).u64(FIRMWARE_VERSION + hidden.version);
  attested(out);
  const message = out.bytes.subarray(2, 2 + length);
  // A provider that hashes what it signs does not ask for the digest.
  const input = {
    hash: TPM_ALG.SHA256,
    message,
    get digest() {
      return sha256(tpm.crypto, message);
    },
  };
  sign(tpm, signer, input, out);
  return { parameters: out.bytes };
}

interface Statement {
  readonly tag: number;
  readonly extraData: Uint8Array;
  readonly size: number;
  readonly attested: (out: Output) => void;
}

// Part 1, 36.7: keys outside of the platform and endorsement hierarchies do not tell what would be an identity of the TPM.
function obscure(tpm: Micro, { hierarchy, qualifiedName }: MicroObject) {
  const isOpen = hierarchy === TPM_RH.PLATFORM || hierarchy === TPM_RH.ENDORSEMENT;
  if (isOpen) return { version: 0n, resets: 0, restarts: 0 };
  const mask = kdfA(tpm.crypto, tpm.permanent.owner.proof, 'OBFUSCATE', [qualifiedName], 16);
  return { version: readU64(mask, 0), resets: readU32(mask, 8), restarts: readU32(mask, 12) };
}

function quote(tpm: Micro, { handles, input }: Call): Answer {
  const nonce = input.parameter().sized(66);
  const isAsked = readScheme(input.parameter());
  const bitmaps = readSelection(input.parameter());
  input.end();
  const signer = signerAt(tpm, handles[0] ?? 0, isAsked, { handle: 1 });
  const selection = encodeSelection(bitmaps);
  const digest = pcrDigest(tpm, bitmaps);
  const attested = (out: Output) => out.put(selection).sized(digest);
  const size = selection.length + 2 + digest.length;
  return attest(tpm, signer, { tag: TPM_ST.ATTEST_QUOTE, extraData: nonce, size, attested });
}

function certify(tpm: Micro, { handles, input }: Call): Answer {
  const nonce = input.parameter().sized(66);
  const isAsked = readScheme(input.parameter());
  input.end();
  const { name, qualifiedName } = objectAt(tpm, handles[0] ?? 0);
  const signer = signerAt(tpm, handles[1] ?? 0, isAsked, { handle: 2 });
  const attested = (out: Output) => out.sized(name).sized(qualifiedName);
  const size = 2 + name.length + 2 + qualifiedName.length;
  return attest(tpm, signer, { tag: TPM_ST.ATTEST_CERTIFY, extraData: nonce, size, attested });
}

/** A ticket over `parts`: this TPM has seen it (Part 2, 10.6). */
function ticket(tpm: Micro, tag: number, hierarchy: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const digest = hmac(tpm.crypto, hierarchyOf(tpm, hierarchy).proof, u16Bytes(tag), ...parts);
  return concat(u16Bytes(tag), u32Bytes(hierarchy), sized(hierarchy === TPM_RH.NULL ? EMPTY : digest));
}

function readHierarchy(input: Input): number {
  const handle = input.u32();
  const isKnown = [TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM, TPM_RH.NULL].some((known) => known === handle);
  return isKnown ? handle : input.refuse(TPM_RC.VALUE);
}

// A restricted key signs what this TPM has hashed, and that only where it is no statement of the TPM's own.
function hash(tpm: Micro, { input }: Call): Answer {
  const data = input.parameter().sized(1024);
  input.parameter().expect(input.u16(), TPM_ALG.SHA256, TPM_RC.HASH);
  const hierarchy = readHierarchy(input.parameter());
  input.end();
  const digest = sha256(tpm.crypto, data);
  const isSafe = data.length >= 4 && readU32(data, 0) !== TPM_GENERATED_VALUE;
  return answer(sized(digest), ticket(tpm, TPM_ST.HASHCHECK, isSafe ? hierarchy : TPM_RH.NULL, digest));
}

function signDigest(tpm: Micro, { handles, input }: Call): Answer {
  const digest = input.parameter().sized(64);
  const isAsked = readScheme(input.parameter());
  input.parameter().expect(input.u16(), TPM_ST.HASHCHECK, TPM_RC.TAG);
  const [hierarchy, given] = [readHierarchy(input), input.sized(64)];
  input.end();
  const signer = signerAt(tpm, handles[0] ?? 0, isAsked, { handle: 1 });
  if (given.length > 0 || has(signer.area, TPMA_OBJECT.restricted)) {
    const expected = ticket(tpm, TPM_ST.HASHCHECK, hierarchy, digest).subarray(8);
    if (expected.length === 0 || !isEqual(expected, given)) refuseParameter(TPM_RC.TICKET, 3);
  }
  if (digest.length !== 32) refuseParameter(TPM_RC.SIZE, 1);
  const out = new Output(SIGNATURE);
  sign(tpm, signer, { hash: TPM_ALG.SHA256, digest }, out);
  return { parameters: out.bytes };
}

function verifySignature(tpm: Micro, { handles, input }: Call): Answer {
  const { area, hierarchy, name } = objectAt(tpm, handles[0] ?? 0);
  const digest = input.parameter().sized(64);
  if (!readScheme(input.parameter())) input.refuse(TPM_RC.SCHEME);
  const signature = { r: input.sized(32), s: input.sized(32) };
  input.end();
  if (!has(area, TPMA_OBJECT.sign)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  if (!tpm.crypto.ecdsaVerify(NIST_P256, pointOf(area), digest, signature)) refuseParameter(TPM_RC.SIGNATURE, 2);
  return answer(ticket(tpm, TPM_ST.VERIFIED, hierarchy, digest, name));
}

const OBJECT = [TPM_HT.TRANSIENT];
const SIGNER = [TPM_HT.TRANSIENT, TPM_HT.PERMANENT];
const FLOWS = { canDecrypt: true, canEncrypt: true } as const;

/** The commands that hash, sign and attest. */
export const ATTEST_COMMANDS: readonly Command[] = [
  { code: TPM_CC.Quote, handles: [SIGNER], roles: ['user'], ...FLOWS, run: quote },
  { code: TPM_CC.Certify, handles: [OBJECT, SIGNER], roles: ['admin', 'user'], ...FLOWS, run: certify },
  { code: TPM_CC.Hash, handles: [], roles: [], ...FLOWS, isHarmless: true, run: hash },
  { code: TPM_CC.Sign, handles: [OBJECT], roles: ['user'], canDecrypt: true, run: signDigest },
  { code: TPM_CC.VerifySignature, handles: [OBJECT], roles: [], canDecrypt: true, run: verifySignature },
];
