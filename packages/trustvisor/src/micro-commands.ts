/** The commands of the micro-TPM that a PAL's services run, laid out by hand: Part 3, clauses 18.4, 22.2 and 24.1. */
import { TPM_ALG, TPM_CC } from '@casemate/tpm';
import { TrustvisorError } from './error.js';

/** TPMS_AUTH_COMMAND behind its size: TPM_RS_PW, no nonce, continueSession, the empty password. */
const AREA = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 1, 0, 0];
const DIGEST = 32;
const HEAD = 14 + AREA.length;

/** A command with one handle, which is authorised by the empty password: all but its parameters, for which there is room. */
function commandFor(code: number, handle: number, parameters: number): Uint8Array {
  const command = new Uint8Array(HEAD + parameters);
  const view = new DataView(command.buffer);
  view.setUint16(0, 0x8002);
  view.setUint32(2, command.length);
  view.setUint32(6, code);
  view.setUint32(10, handle);
  command.set(AREA, 14);
  return command;
}

/** A PAL's commands to its micro-TPM; each gives bytes that the next one of its kind and length overwrites. */
export class MicroCommands {
  readonly #keyHandle: number;
  readonly #extend = commandFor(TPM_CC.PCR_Extend, 0, 4 + 2 + DIGEST);
  /** TPM2_Quote by the length of the nonce: a PAL's are mostly of one. */
  readonly #quotes: Uint8Array[] = [];

  /** `keyHandle` is that of the key that quotes. */
  constructor(keyHandle: number) {
    this.#keyHandle = keyHandle;
    this.#extend.set([0, 0, 0, 1, 0, TPM_ALG.SHA256], HEAD);
  }

  /** TPM2_PCR_Extend of `index`, 0 to 7, by 32 bytes. */
  extend(index: number, digest: Uint8Array): Uint8Array {
    if (digest.length !== DIGEST) {
      throw new TrustvisorError('input', `extend a uPCR: expected ${DIGEST} bytes, got ${digest.length}`);
    }
    this.#extend[13] = index;
    this.#extend.set(digest, HEAD + 6);
    return this.#extend;
  }

  /** TPM2_Quote over the uPCRs of `mask` for a nonce of at most 64 bytes, with the key's own scheme. */
  quote(nonce: Uint8Array, mask: number): Uint8Array {
    const command = this.#quotes[nonce.length] ?? this.#quoteFor(nonce.length);
    command.set(nonce, HEAD + 2);
    command[command.length - 3] = mask;
    return command;
  }

  // TPM2B_DATA, TPMT_SIG_SCHEME, TPML_PCR_SELECTION with the bitmap of the first 24 PCRs.
  #quoteFor(length: number): Uint8Array {
    if (length > 64) throw new TrustvisorError('input', `quote: expected a nonce of at most 64 bytes, got ${length}`);
    const command = commandFor(TPM_CC.Quote, this.#keyHandle, 2 + length + 2 + 10);
    command[HEAD + 1] = length;
    command.set([0, TPM_ALG.NULL, 0, 0, 0, 1, 0, TPM_ALG.SHA256, 3], HEAD + 2 + length);
    this.#quotes[length] = command;
    return command;
  }
}

/** Throws unless the response says TPM_RC_SUCCESS. */
export function assertSuccess(response: Uint8Array, what: string): void {
  const code = u32At(response, 6);
  if (response.length < 10 || code !== 0) {
    throw new TrustvisorError('tpm', `${what}: the micro-TPM answered 0x${code.toString(16)}`);
  }
}

/** The handle and the TPMT_PUBLIC that TPM2_CreatePrimary gives: header, handle, size, TPM2B_PUBLIC, … */
export function parseKey(response: Uint8Array): { readonly handle: number; readonly area: Uint8Array } {
  assertSuccess(response, 'make the identity key');
  const end = 20 + (u32At(response, 16) & 0xffff);
  if (end > response.length) throw new TrustvisorError('tpm', 'make the identity key: the response is cut off');
  return { handle: u32At(response, 10), area: response.slice(20, end) };
}

/** TPMS_ATTEST and TPMT_SIGNATURE, as parts of the response to TPM2_Quote: header, size, TPM2B_ATTEST, signature. */
export function parseQuote(response: Uint8Array): { readonly quoted: Uint8Array; readonly signature: Uint8Array } {
  assertSuccess(response, 'quote');
  const end = 14 + u32At(response, 10);
  const split = 16 + (u32At(response, 12) & 0xffff);
  if (split > end || end > response.length) throw new TrustvisorError('tpm', 'quote: the response is cut off');
  return { quoted: response.subarray(16, split), signature: response.subarray(split, end) };
}

function u32At(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 4; i++) value = value * 256 + (bytes[i] ?? 0);
  return value;
}
