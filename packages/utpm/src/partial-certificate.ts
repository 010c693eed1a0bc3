/**
 * The part of an X.509 certificate that comes with TPM2_CertifyX509: Part 3, 18.8; RFC 5280, section 4.1. The caller of the TPM controls
 * every byte of it. A key that signs certificates is trusted to say in `keyUsage` and `tpmaObject` no more than is true of the object.
 */
import { TPM_RC, TPMA_OBJECT } from '@casemate/tpm';
import { isEqual } from './bytes.js';
import { refuse, refuseHandle } from './refusal.js';

/** The elements that the TPM completes to a TBSCertificate, each with its tag and length. */
export interface PartialCertificate {
  /** The AlgorithmIdentifier of the signature; undefined where the TPM is to make it. */
  readonly signature: Uint8Array | undefined;
  /** Issuer, validity and subject. */
  readonly names: readonly Uint8Array[];
  /** The extensions with their explicit tag. */
  readonly extensions: Uint8Array;
}

const SEQUENCE = 0x30;
const OCTET_STRING = 0x04;
const BIT_STRING = 0x03;
const EXTENSIONS = 0xa3;

/**
 * Takes a partial certificate apart. The elements that the TPM does not have to understand it takes as they are, as libtpms does. Refuses
 * with TPM_RC_SIZE where it is not one SEQUENCE, and with TPM_RC_VALUE where elements are missing or too many.
 */
export function parsePartialCertificate(bytes: Uint8Array): PartialCertificate {
  if (bytes.length === 0) refuse(TPM_RC.VALUE);
  const outer = elementAt(bytes, 0);
  if (outer?.tag !== SEQUENCE || outer.end !== bytes.length) return refuse(TPM_RC.SIZE);
  const sequences: Uint8Array[] = [];
  let extensions: Uint8Array | undefined;
  for (const { tag, start, end } of elementsOf(bytes, outer.contents)) {
    if (tag === SEQUENCE) sequences.push(bytes.subarray(start, end));
    else if (tag === EXTENSIONS && extensions === undefined) extensions = bytes.subarray(start, end);
    else refuse(TPM_RC.VALUE);
  }
  if (extensions === undefined || sequences.length < 3 || sequences.length > 4) return refuse(TPM_RC.VALUE);
  return { signature: sequences.at(-4), names: sequences.slice(-3), extensions };
}

/**
 * Refuses extensions that say of an object what is not so: with TPM_RC_ATTRIBUTES of handle 2 where `tpmaObject` is there and not the
 * object's attributes, and with TPM_RC_VALUE where they cannot be read, or `keyUsage` is missing or grants more than the attributes.
 */
export function assertExtensions(extensions: Uint8Array, attributes: number): void {
  const stated = bitsOf(extensions, TPMA_OBJECT_ID);
  if (stated !== undefined && stated !== attributes >>> 0) refuseHandle(TPM_RC.ATTRIBUTES, 2);
  const usage = bitsOf(extensions, KEY_USAGE_ID) ?? refuse(TPM_RC.VALUE);
  for (const { bits, needs } of KEY_USAGES) {
    if ((usage & bits) !== 0 && (attributes & needs) === 0) refuse(TPM_RC.VALUE);
  }
}

/** The bits of the extension with this identifier, the first of them the highest of 32; undefined where there is none. */
function bitsOf(extensions: Uint8Array, id: Uint8Array): number | undefined {
  const entry = extensionWith(extensions, id);
  if (entry === undefined) return undefined;
  for (const { tag, contents, end } of elementsOf(entry, 0)) {
    if (contents === end) break;
    if (tag !== OCTET_STRING) continue;
    const bits = elementAt(entry.subarray(0, end), contents);
    if (bits?.tag === BIT_STRING) return leftAligned(entry.subarray(bits.contents, bits.end));
    break;
  }
  return refuse(TPM_RC.VALUE);
}

/** The contents of an extension; what stands behind it is not looked at. */
function extensionWith(extensions: Uint8Array, id: Uint8Array): Uint8Array | undefined {
  const wrapper = elementAt(extensions, 0) ?? refuse(TPM_RC.VALUE);
  const list = elementAt(extensions, wrapper.contents) ?? refuse(TPM_RC.VALUE);
  if (list.tag !== SEQUENCE) refuse(TPM_RC.VALUE);
  for (const { tag, contents, end } of elementsOf(extensions, list.contents)) {
    if (tag !== SEQUENCE) refuse(TPM_RC.VALUE);
    const entry = extensions.subarray(contents, end);
    if (isEqual(entry.subarray(0, id.length), id)) return entry;
  }
  return undefined;
}

function leftAligned(contents: Uint8Array): number {
  const [unused = 8, ...octets] = contents;
  const isSensible = unused < 8 && (octets.length > 0 || unused === 0) && octets.length <= 4;
  if (!isSensible) refuse(TPM_RC.VALUE);
  const value = octets.reduce((sum, octet, i) => sum + octet * 2 ** (24 - 8 * i), 0);
  const kept = 8 * octets.length - unused;
  return kept === 0 ? 0 : (value & (-1 << (32 - kept))) >>> 0;
}

interface Element {
  readonly tag: number;
  readonly start: number;
  readonly contents: number;
  readonly end: number;
}

/** The elements from `start` on, up to the end of `bytes`; refuses with TPM_RC_VALUE when it comes to one that does not fit. */
function* elementsOf(bytes: Uint8Array, start: number): Generator<Element> {
  for (let at = start; at < bytes.length; ) {
    const element = elementAt(bytes, at) ?? refuse(TPM_RC.VALUE);
    yield element;
    at = element.end;
  }
}

/** The element at `start`, or undefined where there is none that fits. A length may be longer than DER has it, as libtpms takes it. */
function elementAt(bytes: Uint8Array, start: number): Element | undefined {
  const [tag, first] = [bytes[start], bytes[start + 1]];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined;
  const octets = first < 0x80 ? 0 : first - 0x80;
  if (octets > 2 || first === 0x80) return undefined;
  const contents = start + 2 + octets;
  if (contents > bytes.length) return undefined;
  const length =
    octets === 0 ? first : bytes.subarray(start + 2, contents).reduce((sum, octet) => sum * 256 + octet, 0);
  return contents + length > bytes.length ? undefined : { tag, start, contents, end: contents + length };
}

/** tcg-tpmaObject, 2.23.133.10.1.1.1: a BIT STRING of the attributes. */
const TPMA_OBJECT_ID = Uint8Array.of(0x06, 0x07, 0x67, 0x81, 0x05, 0x0a, 0x01, 0x01, 0x01);
/** id-ce-keyUsage (RFC 5280, 4.2.1.3). */
const KEY_USAGE_ID = Uint8Array.of(0x06, 0x03, 0x55, 0x1d, 0x0f);

// What a use needs of the object (Part 3, 18.8.1); bits as in Part 2, TPMA_X509_KEY_USAGE.
const KEY_USAGES = [
  // digitalSignature, keyCertSign, cRLSign
  { bits: 0x86000000, needs: TPMA_OBJECT.sign },
  // keyEncipherment, dataEncipherment, keyAgreement, encipherOnly, decipherOnly
  { bits: 0x39800000, needs: TPMA_OBJECT.decrypt },
  // nonRepudiation
  { bits: 0x40000000, needs: TPMA_OBJECT.fixedTPM },
  // keyAgreement
  { bits: 0x08000000, needs: TPMA_OBJECT.restricted },
] as const;
