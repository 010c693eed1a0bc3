/** What the manufacturer put into NV memory about endorsement keys: certificates, their chain, templates, nonces (TCG EK Credential Profile 2.5, section 2.2.1). */
import { decode } from '@casemate/wire';
import type { Authorization } from './authorization.js';
import { concat } from './bytes.js';
import { TPM_RC } from './constants/responses.js';
import { nvRead, openNv } from './nv.js';
import { createPrimary, type TpmObject } from './object.js';
import { listHandles } from './persistent.js';
import { TpmError } from './response-code.js';
import { TpmtPublic } from './structures/public.js';
import { type EkKind, ekTemplate, withEkNonce } from './templates.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/**
 * Reads the certificate that the manufacturer put in for an endorsement key: DER, or `undefined` where there is none.
 * Throws what {@link Tpm.execute} throws, and `TpmError` `decode` for contents that are no DER sequence.
 */
export async function readEkCertificate(tpm: Tpm, kind: EkKind): Promise<Uint8Array | undefined> {
  const bytes = await readWhereThere(tpm, PLACES[kind].certificate);
  return bytes && firstElement(bytes);
}

/** The endorsement keys for which the TPM holds a certificate. */
export async function ekCertificateKinds(tpm: Tpm, options: ExecuteOptions = {}): Promise<readonly EkKind[]> {
  const present = new Set(await listHandles(tpm, 'nv', options));
  return EK_KINDS.filter((kind) => present.has(PLACES[kind].certificate));
}

/**
 * Reads the certificates of the authorities above the endorsement keys' certificates, from 0x01C00100 up: DER, in the
 * order in which they stand there; none where the manufacturer put none in. A certificate may go on in the next index.
 */
export async function readEkChain(tpm: Tpm, options: ExecuteOptions = {}): Promise<readonly Uint8Array[]> {
  const indexes = (await listHandles(tpm, 'nv', options)).filter((index) => index >= CHAIN && index < CHAIN + 0x100);
  const parts: Uint8Array[] = [];
  for (const index of indexes) parts.push(await nvRead(tpm, await openNv(tpm, index, options), options));
  return elements(concat(...parts));
}

/**
 * The template of an endorsement key: the manufacturer's where there is one in NV memory, else the profile's, with the
 * nonce of the low range where there is one. Throws `WireError` for a template that does not decode.
 */
export async function readEkTemplate(tpm: Tpm, kind: EkKind): Promise<TpmtPublic> {
  const { template, nonce } = PLACES[kind];
  const stored = await readWhereThere(tpm, template);
  const chosen = stored ? decode(TpmtPublic, stored) : ekTemplate(kind);
  const inserted = nonce === undefined ? undefined : await readWhereThere(tpm, nonce);
  return inserted ? withEkNonce(chosen, inserted) : chosen;
}

/**
 * Creates an endorsement key as its certificate means it: from the manufacturer's template and nonce, where they are.
 * Throws `TpmError` `integrity` where what the TPM made is of another type, and what {@link Tpm.execute} throws.
 */
export async function createEk(
  tpm: Tpm,
  kind: EkKind,
  options: ExecuteOptions & { readonly endorsementAuth?: Authorization } = {},
): Promise<TpmObject> {
  const template = await readEkTemplate(tpm, kind);
  const { endorsementAuth: hierarchyAuth } = options;
  return await createPrimary(tpm, {
    ...options,
    hierarchy: 'endorsement',
    template,
    ...(hierarchyAuth && { hierarchyAuth }),
  });
}

async function readWhereThere(tpm: Tpm, index: number): Promise<Uint8Array | undefined> {
  const found = await openNv(tpm, index).catch(noneWhereAbsent);
  return found && (await nvRead(tpm, found));
}

function noneWhereAbsent(error: unknown): undefined {
  if (error instanceof TpmError && error.response?.number === TPM_RC.HANDLE) return undefined;
  throw error;
}

/** An index may be longer than its certificate. The TPM's maker wrote the bytes; the length is checked against them. */
function firstElement(bytes: Uint8Array): Uint8Array {
  const end = elementEnd(bytes, 0);
  if (end !== undefined) return bytes.slice(0, end);
  throw new TpmError('decode', 'read EK certificate: expected a DER sequence of 128 to 65535 bytes');
}

/** The elements up to the padding that fills an index. */
function elements(bytes: Uint8Array): readonly Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let start = 0; bytes[start] === DER_SEQUENCE; ) {
    const end = elementEnd(bytes, start);
    if (end === undefined)
      throw new TpmError('decode', 'read EK chain: expected whole DER sequences, got a part of one');
    found.push(bytes.slice(start, end));
    start = end;
  }
  return found;
}

function elementEnd(bytes: Uint8Array, start: number): number | undefined {
  const [tag, first, second, third] = bytes.subarray(start, start + 4);
  let end = 0;
  if (first === 0x81) end = start + 3 + (second ?? 0);
  else if (first === 0x82) end = start + 4 + (((second ?? 0) << 8) | (third ?? 0));
  return tag === DER_SEQUENCE && end > 0 && end <= bytes.length ? end : undefined;
}

interface Place {
  readonly certificate: number;
  readonly template: number;
  readonly nonce?: number;
}

const DER_SEQUENCE = 0x30;
const CHAIN = 0x01c00100;
const PLACES: Readonly<Record<EkKind, Place>> = {
  'rsa-2048': { certificate: 0x01c00002, nonce: 0x01c00003, template: 0x01c00004 },
  'ecc-p256': { certificate: 0x01c0000a, nonce: 0x01c0000b, template: 0x01c0000c },
  'rsa-2048-high': { certificate: 0x01c00012, template: 0x01c00013 },
  'ecc-p256-high': { certificate: 0x01c00014, template: 0x01c00015 },
  'ecc-p384-high': { certificate: 0x01c00016, template: 0x01c00017 },
  'ecc-p521-high': { certificate: 0x01c00018, template: 0x01c00019 },
  'sm2-high': { certificate: 0x01c0001a, template: 0x01c0001b },
  'rsa-3072-high': { certificate: 0x01c0001c, template: 0x01c0001d },
  'rsa-4096-high': { certificate: 0x01c0001e, template: 0x01c0001f },
};
const EK_KINDS = Object.keys(PLACES) as readonly EkKind[]; // the keys of the record above
