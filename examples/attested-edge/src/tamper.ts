/** The attacks of `--tamper`: each is made on the files or messages that an attacker on the device could reach. */
import { open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Evidence } from '@casemate/attestation';
import type { GuestOsStore } from '@casemate/container';
import { createCertificate, createHierarchy, deviceMakerTemplate, PROFILES, parseCertificate } from '@casemate/pki';
import { EDGE } from './guest-os.js';
import type { Attack } from './options.js';

/** Attacks the GuestOS in its store; the next run builds it anew. */
export async function tamperGuestOs(attack: Attack | undefined, store: GuestOsStore): Promise<string | undefined> {
  const image = store.imagePath(EDGE);
  const file = (kind: string): string => image.replace(/img$/, kind);
  switch (attack) {
    case 'image':
      await flipLast(image, 4096);
      return 'changed one byte of the image';
    case 'config': {
      const text = await readFile(file('conf'), 'utf8');
      await writeFile(file('conf'), text.replace('"pidsMax": 512', '"pidsMax": 999'));
      return 'raised a limit in the configuration';
    }
    case 'signature':
      await flipLast(file('sig'), 1);
      return 'changed one byte of the signature';
    default:
      return undefined;
  }
}

/** The PAL's code with another increment: `i64.const 1, i64.add` becomes `i64.const 63, i64.add`. */
export function cheatingModule(module: Uint8Array): Uint8Array {
  const cheating = module.slice();
  const at = cheating.findIndex((byte, i) => byte === 0x42 && cheating[i + 1] === 0x01 && cheating[i + 2] === 0x7c);
  if (at === -1) throw new Error('the PAL has no increment to change');
  cheating[at + 1] = 0x3f;
  return cheating;
}

/** The PAL's sealed state as its files are now. */
export interface SavedState {
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** Copies the sealed state. */
export async function saveState(directory: string): Promise<SavedState> {
  const names = await readdir(directory);
  const files = names.map(async (name) => [name, new Uint8Array(await readFile(join(directory, name)))] as const);
  return { files: new Map(await Promise.all(files)) };
}

/** Puts a copy back, as an attacker would who wants to turn the clock back. */
export async function restoreState(directory: string, { files }: SavedState): Promise<void> {
  for (const name of await readdir(directory)) if (!files.has(name)) await rm(join(directory, name));
  for (const [name, bytes] of files) await writeFile(join(directory, name), bytes);
}

/** Changes one byte in the middle of each file of the sealed state. */
export async function damageState(directory: string): Promise<void> {
  const { files } = await saveState(directory);
  for (const [name, bytes] of files) {
    const middle = bytes.length >> 1;
    bytes[middle] = (bytes[middle] ?? 0) ^ 1;
    await writeFile(join(directory, name), bytes);
  }
}

/** Attacks the evidence on its way to the verifier. */
export async function tamperEvidence(attack: Attack | undefined, evidence: Evidence): Promise<Evidence> {
  switch (attack) {
    case 'quote': {
      // The last bytes of what the TPM signed are the digest of the PCRs.
      const quoted = flipped(evidence.quote.quoted, evidence.quote.quoted.length - 1);
      return { ...evidence, quote: { ...evidence.quote, quoted } };
    }
    case 'event-log':
      return { ...evidence, eventLog: flipped(evidence.eventLog, evidence.eventLog.length - 1) };
    case 'certificate':
      return { ...evidence, akCertificates: await foreignChain(evidence) };
    default:
      return evidence;
  }
}

/** A certificate for the same attestation key, by authorities of the attacker's own with the same names. */
async function foreignChain(evidence: Evidence): Promise<readonly Uint8Array[]> {
  const [genuine] = evidence.akCertificates;
  if (genuine === undefined) throw new Error('the evidence has no certificate to replace');
  const { publicKey } = parseCertificate(genuine);
  const subject = { countryName: 'DE', organizationName: 'Edge Devices' };
  const hierarchy = await createHierarchy(deviceMakerTemplate(subject));
  const authority = hierarchy.get('attestation-ca');
  const forged = await createCertificate({
    profile: PROFILES.attestationKey,
    subject: { ...subject, commonName: 'edge device' },
    publicKey,
    issuer: authority.issuer,
  });
  return [forged, ...authority.chain];
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

/** Flips one bit of the byte that stands `fromEnd` bytes before the end. */
async function flipLast(path: string, fromEnd: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    const at = Math.max(0, size - fromEnd);
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ 1;
    await file.write(byte, 0, 1, at);
  } finally {
    await file.close();
  }
}
