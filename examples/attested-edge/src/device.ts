/** Step 3: the device's TPM, its keys, and the certificates that the maker gives it. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import {
  answerChallenge,
  buildEnrolmentRequest,
  challengeEnrolment,
  completeEnrolment,
  ekDigest,
  encodePem,
  memoryChallenges,
  parsePem,
} from '@casemate/pki';
import {
  akTemplate,
  createKey,
  createPrimary,
  ekTemplate,
  loadKey,
  Startup,
  signingKeyTemplate,
  srkTemplate,
  TPM_SU,
  Tpm,
  TpmError,
  type TpmObject,
  type TpmTransport,
  TpmtPublic,
  type WrappedKey,
} from '@casemate/tpm';
import { openDevice } from '@casemate/tpm/device';
import { connectSwtpm } from '@casemate/tpm/swtpm';
import { openUtpm } from '@casemate/utpm';
import { directoryState, nodeUtpmCrypto } from '@casemate/utpm/node';
import { decode, encode } from '@casemate/wire';
import type { Maker } from './authorities.js';
import type { TpmChoice } from './options.js';
import { readIfThere, replaceFile, type State } from './state.js';

/** A device with its certificates. Its keys are loaded while they are used, because a TPM has few places. */
export interface Device {
  readonly tpm: Tpm;
  readonly isNew: boolean;
  readonly ekDigest: string;
  /** Leaf first, without the root. */
  readonly akCertificates: readonly Uint8Array[];
  /** Leaf first, without the root. */
  readonly deviceCertificates: readonly Uint8Array[];
  /** Runs `act` with the attestation key and the device key loaded. */
  withKeys<T>(act: (keys: { readonly ak: TpmObject; readonly deviceKey: TpmObject }) => Promise<T>): Promise<T>;
}

/** Opens the way to the TPM that was chosen, and starts it up where nobody has. */
export async function openTpm(choice: TpmChoice, state: State): Promise<TpmTransport> {
  const transport = await connect(choice, state);
  try {
    await new Tpm(transport).execute(Startup, { startupType: TPM_SU.CLEAR });
  } catch (error) {
    // TPM_RC_INITIALIZE: the firmware, or whoever started the TPM, has done so already.
    if (!(error instanceof TpmError && error.response?.name === 'TPM_RC_INITIALIZE')) throw error;
  }
  return transport;
}

async function connect(choice: TpmChoice, state: State): Promise<TpmTransport> {
  switch (choice.kind) {
    case 'embedded':
      return openUtpm({ state: await directoryState(state.tpm), crypto: nodeUtpmCrypto });
    case 'swtpm':
      return connectSwtpm({ host: choice.host, port: choice.port });
    case 'swtpm-path':
      return connectSwtpm({ path: choice.path });
    case 'device':
      return openDevice(choice.path);
  }
}

/** Gets the device's certificates: those of an earlier run, or new ones by enrolment with its maker. */
export async function enrolDevice(tpm: Tpm, maker: Maker, state: State): Promise<Device> {
  const keyFile = join(state.device, 'device-key.json');
  const key = (await readKey(keyFile)) ?? (await newKey(tpm, keyFile));
  const withKeys: Device['withKeys'] = async (act) => {
    await using deviceKey = await loadDeviceKey(tpm, key);
    await using ak = await createPrimary(tpm, { hierarchy: 'endorsement', template: akTemplate('ecc-p256') });
    return await act({ ak, deviceKey });
  };
  const digest = await withEk(tpm, async (ek) => ekDigest(ek.public));
  const certificateFile = join(state.device, `certificates-${digest.slice(0, 16)}.pem`);
  const earlier = await readIfThere(certificateFile);
  const pem = earlier ? new TextDecoder().decode(earlier) : await enrol(tpm, maker, withKeys, certificateFile);
  const [ak, device] = parsePem(pem).map(({ der }) => der);
  if (ak === undefined || device === undefined) throw new Error(`${certificateFile} does not hold two certificates`);
  const { hierarchy } = maker;
  return {
    tpm,
    isNew: earlier === undefined,
    ekDigest: digest,
    akCertificates: [ak, ...hierarchy.get('attestation-ca').chain],
    deviceCertificates: [device, ...hierarchy.get('device-ca').chain],
    withKeys,
  };
}

/** Both sides of the enrolment, which would stand on two machines: what passes between them are bytes. */
async function enrol(tpm: Tpm, maker: Maker, withKeys: Device['withKeys'], file: string): Promise<string> {
  const { hierarchy, store } = maker;
  const { ak, device } = await withKeys(({ ak, deviceKey }) =>
    withEk(tpm, async (ek) => {
      const policy = {
        // The production line wrote down which TPM it built in.
        trust: { trustedEks: [ekDigest(ek.public)] },
        attestation: { issuer: hierarchy.get('attestation-ca').issuer },
        device: { issuer: hierarchy.get('device-ca').issuer },
        challenges: memoryChallenges(),
      };
      const subject = { ...hierarchy.template.subject, commonName: 'edge device' };
      const subjectAltName = { uri: [`urn:uuid:${randomUUID()}`] };
      const request = await buildEnrolmentRequest(tpm, { ek, ak, deviceKey, subject, subjectAltName });
      const challenge = await challengeEnrolment(request, policy);
      const answer = await answerChallenge(tpm, { ek, ak, request, challenge });
      const issued = await completeEnrolment(answer, policy);
      return { ak: issued.akCertificate, device: issued.deviceCertificate };
    }),
  );
  await store.record('attestation-ca', ak);
  await store.record('device-ca', device);
  const pem = encodePem('CERTIFICATE', ak) + encodePem('CERTIFICATE', device);
  await replaceFile(file, pem, 0o600);
  return pem;
}

async function withEk<T>(tpm: Tpm, act: (ek: TpmObject) => Promise<T>): Promise<T> {
  await using ek = await createPrimary(tpm, { hierarchy: 'endorsement', template: ekTemplate('ecc-p256') });
  return await act(ek);
}

async function loadDeviceKey(tpm: Tpm, key: WrappedKey): Promise<TpmObject> {
  await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
  return await loadKey(tpm, srk, key);
}

async function newKey(tpm: Tpm, file: string): Promise<WrappedKey> {
  await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
  const key = await createKey(tpm, srk, { template: signingKeyTemplate('ecc-p256') });
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  const text = JSON.stringify({ private: base64(key.private), public: base64(encode(TpmtPublic, key.public)) });
  await replaceFile(file, text, 0o600);
  return key;
}

async function readKey(file: string): Promise<WrappedKey | undefined> {
  const bytes = await readIfThere(file);
  if (bytes === undefined) return undefined;
  const stored = JSON.parse(new TextDecoder().decode(bytes)) as { private: string; public: string }; // written by newKey
  return {
    private: new Uint8Array(Buffer.from(stored.private, 'base64')),
    public: decode(TpmtPublic, new Uint8Array(Buffer.from(stored.public, 'base64'))),
  };
}
