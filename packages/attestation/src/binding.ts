/** How values are bound into quotes and signatures: hashes with a label each, so that none can pass for another. */
import { sha256 } from '@noble/hashes/sha2.js';
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { type EvidenceReport, ReportJson } from './evidence.js';
import { writeJson } from './json-codec.js';

/**
 * The qualifyingData of a platform quote: SHA-256 over a label, the nonce behind its length, and the report's one JSON text. So the
 * TPM's signature covers the challenge and what the device says of itself.
 */
export function evidenceNonce(nonce: Uint8Array, report: EvidenceReport): Uint8Array {
  return labelled('casemate evidence report v1', nonce, utf8ToBytes(writeJson(ReportJson, report)));
}

/** The qualifyingData of a PAL's quote: SHA-256 over a label, the verifier's nonce behind its length, and the PAL's output. */
export function palNonce(nonce: Uint8Array, output: Uint8Array): Uint8Array {
  return labelled('casemate pal output v1', nonce, output);
}

/**
 * What the device key signs, as a detached CMS: a label and the qualifyingData of the quote. So the holder of the device key answers
 * the same challenge with the same report as the TPM. The label keeps the signature from meaning anything elsewhere, for the same
 * key also signs requests and perhaps TLS handshakes.
 */
export function deviceProofData(qualifyingData: Uint8Array): Uint8Array {
  return concatBytes(utf8ToBytes('casemate device proof v1\0'), qualifyingData);
}

function labelled(label: string, nonce: Uint8Array, data: Uint8Array): Uint8Array {
  return sha256(concatBytes(utf8ToBytes(`${label}\0`), Uint8Array.of(nonce.length), nonce, data));
}
