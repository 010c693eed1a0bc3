import {
  createCertificate,
  createHierarchy,
  deviceMakerTemplate,
  type Hierarchy,
  PROFILES,
  type Signer,
  signDocument,
} from '@casemate/pki';
import {
  akTemplate,
  createPrimary,
  extendPcr,
  publicKeySpki,
  quote,
  signingKeyTemplate,
  type Tpm,
  type TpmObject,
  TpmtPublic,
  tpmSigner,
} from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { sha256 } from '@noble/hashes/sha2.js';
import {
  type Anchors,
  type CollectOptions,
  type GuestOsConfiguration,
  type GuestOsEvidence,
  type MeasurementLog,
  measure,
  openMeasurementLog,
  type Policy,
  type QuotingPal,
  type Statement,
} from '../src/index.js';
import { fromBase64, hex, toBase64 } from '../src/octets.js';

/** Everything in these tests happens around this moment, so that recorded certificates stay valid. */
export const NOW = new Date('2026-11-22T12:00:00Z');
export const NONCE = new Uint8Array(32).map((_, i) => i);
const UUID = 'urn:uuid:6ba7b810-9dad-41d1-80b4-00c04fd430c8';
const ORGANIZATION = { countryName: 'DE', organizationName: 'Maker' };

export interface Pki {
  readonly hierarchy: Hierarchy;
  readonly anchors: Anchors;
}

export async function createPki(): Promise<Pki> {
  const hierarchy = await createHierarchy(deviceMakerTemplate(ORGANIZATION), {
    notBefore: new Date(NOW.getTime() - 3_600_000),
  });
  const general = hierarchy.get('general-root').certificate;
  const software = hierarchy.get('software-signing-root').certificate;
  return { hierarchy, anchors: { attestation: [general], device: [general], software: [software] } };
}

/** A certificate for a key of the device, followed by its issuer's. */
export async function certify(
  pki: Pki,
  kind: 'ak' | 'device',
  publicKey: Uint8Array,
  uri = UUID,
): Promise<readonly Uint8Array[]> {
  const authority = pki.hierarchy.get(kind === 'ak' ? 'attestation-ca' : 'device-ca');
  const certificate = await createCertificate({
    profile: kind === 'ak' ? PROFILES.attestationKey : PROFILES.device,
    subject: { ...ORGANIZATION, commonName: kind === 'ak' ? 'attestation key 1' : 'edge 1' },
    publicKey,
    issuer: authority.issuer,
    subjectAltName: { uri: [uri] },
    notBefore: new Date(NOW.getTime() - 1_800_000),
  });
  return [certificate, ...authority.chain];
}

/** A configuration format for tests: the real one belongs to @casemate/container. */
export function buildConfiguration(name: string, version: number, imageDigest: Uint8Array): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ name, version, image: toBase64(imageDigest) }));
}

export function readConfiguration(bytes: Uint8Array): GuestOsConfiguration {
  const { name, version, image } = JSON.parse(new TextDecoder().decode(bytes));
  const imageDigest = fromBase64(image);
  if (!imageDigest) throw new Error('the image digest is not base64');
  return { name, version, imageDigest };
}

export async function signConfiguration(pki: Pki, configuration: Uint8Array): Promise<GuestOsEvidence> {
  const { signer, chain } = pki.hierarchy.get('software-signing');
  return { configuration, signature: await signDocument(configuration, { signer, chain, time: NOW }) };
}

export interface Platform {
  readonly pki: Pki;
  readonly tpm: Tpm;
  readonly ak: TpmObject;
  readonly log: MeasurementLog;
  readonly signer: Signer;
  /** What a device collects from, complete. */
  readonly options: CollectOptions;
  readonly policy: Policy;
}

export const IMAGE_DIGEST = sha256(new TextEncoder().encode('every byte of the image'));
export const PAL_MEASUREMENT = sha256(new TextEncoder().encode('every byte of the PAL image'));

/** A PAL whose micro-TPM is a TPM of its own: extended once with the measurement, with a restricted key made inside. */
export async function startPal(micro: Tpm, kind: 'ecc-p256' | 'rsa-2048' = 'ecc-p256'): Promise<QuotingPal> {
  await extendPcr(micro, 0, { sha256: PAL_MEASUREMENT });
  const key = await createPrimary(micro, { template: akTemplate(kind) });
  return {
    identity: encode(TpmtPublic, key.public),
    quote: (nonce, { pcrs = [0] } = {}) => quote(micro, key, { nonce, pcrs: { sha256: pcrs } }),
  };
}

/** A device that has measured a GuestOS and a PAL. */
export async function createPlatform(
  pki: Pki,
  tpm: Tpm,
  pal: QuotingPal,
  kind: 'ecc-p256' | 'rsa-2048' = 'ecc-p256',
): Promise<Platform> {
  const ak = await createPrimary(tpm, { template: akTemplate(kind) });
  const key = await createPrimary(tpm, { template: signingKeyTemplate(kind) });
  const signer = tpmSigner(tpm, key);
  const log = await openMeasurementLog(tpm);
  const configuration = buildConfiguration('edge', 3, IMAGE_DIGEST);
  const guestOs = await signConfiguration(pki, configuration);
  const configDigest = sha256(configuration);
  await measure(tpm, log, {
    statement: { type: 'guestos', name: 'edge', version: 3, configDigest, imageDigest: IMAGE_DIGEST },
  });
  const registered = { name: 'counter', version: '1.0.0', measurement: PAL_MEASUREMENT, identityKey: pal.identity };
  await measure(tpm, log, { statement: { type: 'pal', ...registered } });
  const options: CollectOptions = {
    nonce: NONCE,
    attestationKey: ak,
    akCertificates: await certify(pki, 'ak', publicKeySpki(ak.public)),
    device: { certificates: await certify(pki, 'device', signer.publicKey), signer },
    log,
    pcrs: { sha1: [11], sha256: [0, 7, 11, 12] },
    guestOses: [guestOs],
    pals: [{ pal, output: new TextEncoder().encode('counter=2') }],
    runRecord: JSON.stringify([{ exit: 0 }]),
    passed: ['sealed-state', 'replay'],
    time: NOW,
  };
  return { pki, tpm, ak, log, signer, options, policy: acceptingPolicy() };
}

/** The version that a statement names. */
export function versionOf(statement: Statement): string | number | undefined {
  return statement.type === 'trustvisor' ? undefined : statement.version;
}

export function acceptingPolicy(): Policy {
  return {
    version: 1,
    requiredPcrs: { sha256: [0, 7, 11, 12] },
    guestOses: [{ name: 'edge', minimumVersion: 3, signerUsage: '1.3.6.1.5.5.7.3.3' }],
    guestOsRequired: true,
    pals: [{ name: 'counter', measurements: [hex(PAL_MEASUREMENT)], required: true }],
    requiredSelfChecks: ['sealed-state', 'replay'],
    maximumAgeSeconds: 300,
    clockToleranceSeconds: 5,
    safeClockRequired: true,
  };
}
