import {
  akTemplate,
  certify,
  createKey,
  createPrimary,
  ekTemplate,
  loadKey,
  readEkCertificate,
  signingKeyTemplate,
  srkTemplate,
  type Tpm,
  TpmError,
  type TpmObject,
  tpmSigner,
} from '@casemate/tpm';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { csrDigest, decodeMessage, EnrolmentRequest, encodeMessage } from '../src/enrolment-message.js';
import {
  answerChallenge,
  buildCsr,
  buildEnrolmentRequest,
  challengeEnrolment,
  completeEnrolment,
  createHierarchy,
  deviceMakerTemplate,
  type EkTrust,
  type EnrolmentPolicy,
  ekDigest,
  generateKey,
  type Hierarchy,
  memoryChallenges,
  parseCertificate,
  validatePath,
} from '../src/index.js';
import { type Manufacturer, openManufacturer, type RunningTpm, swtpmMissing } from './swtpm.js';

const uri = 'urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f';
const subject = { countryName: 'DE', organizationName: 'Maker', commonName: 'edge 0001', serialNumber: '0001' };
const missing = swtpmMissing();

interface Device {
  readonly tpm: Tpm;
  readonly ek: TpmObject;
  readonly ak: TpmObject;
  readonly deviceKey: TpmObject;
  readonly ekCertificate: Uint8Array | undefined;
}

async function openDevice(tpm: Tpm, kind: 'ecc-p256' | 'rsa-2048'): Promise<Device> {
  const srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
  const ak = await loadKey(tpm, srk, await createKey(tpm, srk, { template: akTemplate(kind) }));
  const deviceKey = await loadKey(tpm, srk, await createKey(tpm, srk, { template: signingKeyTemplate(kind) }));
  await srk.flush();
  const ek = await createPrimary(tpm, { hierarchy: 'endorsement', template: ekTemplate('rsa-2048') });
  return { tpm, ek, ak, deviceKey, ekCertificate: await readEkCertificate(tpm, 'rsa-2048') };
}

async function closeDevice(device: Device): Promise<void> {
  for (const key of [device.ek, device.ak, device.deviceKey]) await key.flush();
}

describe.skipIf(missing !== undefined)(
  `enrolment with swtpm${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let manufacturer: Manufacturer;
    let first: RunningTpm;
    let second: RunningTpm;
    let hierarchy: Hierarchy;
    let device: Device;

    beforeAll(async () => {
      manufacturer = openManufacturer();
      first = await manufacturer.startTpm();
      second = await manufacturer.startTpm();
      hierarchy = await createHierarchy(deviceMakerTemplate({ countryName: 'DE', organizationName: 'Maker' }));
      device = await openDevice(first.tpm, 'ecc-p256');
    });
    afterAll(async () => {
      await first?.[Symbol.asyncDispose]();
      await second?.[Symbol.asyncDispose]();
      manufacturer?.[Symbol.dispose]();
    });

    function policy(changes: Partial<EnrolmentPolicy> & { readonly trust?: EkTrust } = {}): EnrolmentPolicy {
      return {
        trust: { anchors: [manufacturer.root], intermediates: [manufacturer.intermediate] },
        attestation: { issuer: hierarchy.get('attestation-ca').issuer },
        device: { issuer: hierarchy.get('device-ca').issuer },
        challenges: memoryChallenges(),
        ...changes,
      };
    }

    it('leaves names out of the AK certificate that only the device certificate may have', async () => {
      const enrolling = policy();
      const subjectAltName = { uri: [uri], dns: ['edge-0001.maker.example'] };
      const request = await buildEnrolmentRequest(device.tpm, { ...device, subject, subjectAltName });
      const challenge = await challengeEnrolment(request, enrolling);
      const answer = await answerChallenge(device.tpm, { ...device, request, challenge });
      const { akCertificate, deviceCertificate } = await completeEnrolment(answer, enrolling);
      expect(parseCertificate(deviceCertificate).subjectAltName).toHaveLength(2);
      expect(parseCertificate(akCertificate).subjectAltName).toEqual([{ type: 'uri', value: uri }]);
    });

    const requestOf = (from: Device) =>
      buildEnrolmentRequest(from.tpm, { ...from, subject, subjectAltName: { uri: [uri] } });

    it('gives a device whose EK has a manufacturer certificate both certificates, which validate', async () => {
      const enrolling = policy();
      const request = await requestOf(device);
      const challenge = await challengeEnrolment(request, enrolling);
      const answer = await answerChallenge(device.tpm, { ...device, request, challenge });
      const enrolled = await completeEnrolment(answer, enrolling);

      const { root, certificate: deviceCa } = hierarchy.get('device-ca');
      const time = new Date();
      const ofDevice = await validatePath(enrolled.deviceCertificate, [deviceCa], [root], {
        purpose: 'client-auth',
        time,
        name: { uri },
      });
      expect(ofDevice).toMatchObject({ ok: true });
      const attestationCa = hierarchy.get('attestation-ca').certificate;
      const ofAk = await validatePath(enrolled.akCertificate, [attestationCa], [root], {
        purpose: 'tpm-ak',
        time,
        name: { uri },
      });
      expect(ofAk).toMatchObject({ ok: true });
      expect(parseCertificate(enrolled.deviceCertificate).publicKey).toEqual(
        tpmSigner(device.tpm, device.deviceKey).publicKey,
      );
      expect(parseCertificate(enrolled.akCertificate).publicKey).toEqual(tpmSigner(device.tpm, device.ak).publicKey);
      expect(enrolled.ekDigest).toBe(ekDigest(device.ek.public));
    });

    it('takes RSA keys in the TPM as well', async () => {
      const other = await openDevice(second.tpm, 'rsa-2048');
      const enrolling = policy();
      const request = await requestOf(other);
      const challenge = await challengeEnrolment(request, enrolling);
      const answer = await answerChallenge(other.tpm, { ...other, request, challenge });
      expect(await completeEnrolment(answer, enrolling)).toMatchObject({ ekDigest: ekDigest(other.ek.public) });
      await closeDevice(other);
    });

    it('refuses an AK from another TPM: neither TPM can answer the challenge', async () => {
      const other = await openDevice(second.tpm, 'ecc-p256');
      const enrolling = policy();
      // The AK and the device key of the second TPM under the EK of the first.
      const { ek, ekCertificate } = device;
      const request = await buildEnrolmentRequest(other.tpm, {
        ...other,
        ek,
        ekCertificate,
        subject,
        subjectAltName: { uri: [uri] },
      });
      const challenge = await challengeEnrolment(request, enrolling);
      await expect(answerChallenge(other.tpm, { ...other, request, challenge })).rejects.toThrow(TpmError);
      await expect(answerChallenge(device.tpm, { ...device, request, challenge })).rejects.toThrow(TpmError);
      await closeDevice(other);
    });

    it('refuses an answer that is replayed, changed, late, or to a challenge that never was', async () => {
      let now = new Date();
      const enrolling = policy({ now: () => now });
      const request = await requestOf(device);
      const answerTo = async () => {
        const challenge = await challengeEnrolment(request, enrolling);
        return answerChallenge(device.tpm, { ...device, request, challenge });
      };
      const used = await answerTo();
      await completeEnrolment(used, enrolling);
      await expect(completeEnrolment(used, enrolling)).rejects.toMatchObject({ code: 'replayed' });

      const changed = (await answerTo()).slice();
      changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
      await expect(completeEnrolment(changed, enrolling)).rejects.toMatchObject({ code: 'bad-signature' });
      // One guess is all that a challenge allows.
      changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
      await expect(completeEnrolment(changed, enrolling)).rejects.toMatchObject({ code: 'replayed' });

      const late = await answerTo();
      now = new Date(now.getTime() + 301_000);
      await expect(completeEnrolment(late, enrolling)).rejects.toMatchObject({ code: 'replayed' });
      await expect(completeEnrolment(await answerTo(), policy())).rejects.toMatchObject({ code: 'replayed' });
    });

    it('refuses an answer that was made for another request', async () => {
      const enrolling = policy();
      const request = await requestOf(device);
      const other = await requestOf(device);
      const challenge = await challengeEnrolment(request, enrolling);
      const answer = await answerChallenge(device.tpm, { ...device, request: other, challenge });
      await expect(completeEnrolment(answer, enrolling)).rejects.toMatchObject({ code: 'bad-signature' });
    });

    it('refuses a CSR whose key is not the one that the TPM certified', async () => {
      const software = await generateKey('ecdsa-p256-sha256');
      const csr = await buildCsr(software, { subject, subjectAltName: { uri: [uri] } });
      const request = decodeMessage(EnrolmentRequest, await requestOf(device));
      // With the TPM's statement as it is, the statement is for another request …
      await expect(
        challengeEnrolment(encodeMessage(EnrolmentRequest, { ...request, csr }), policy()),
      ).rejects.toMatchObject({
        code: 'key-mismatch',
      });
      // … and with a fresh statement for this request, it is about another key.
      const fresh = await certify(device.tpm, { object: device.deviceKey, signer: device.ak, nonce: csrDigest(csr) });
      const forged = { ...request, csr, certified: fresh.certified, certifySignature: fresh.signature };
      await expect(challengeEnrolment(encodeMessage(EnrolmentRequest, forged), policy())).rejects.toMatchObject({
        code: 'key-mismatch',
        message: expect.stringContaining('CSR of the key that the TPM certified'),
      });
    });

    it('refuses an EK that nobody vouches for, unless a list names it or the caller insists by a name that says insecure', async () => {
      const request = await requestOf(device);
      const unknown = { anchors: [hierarchy.get('general-root').root] };
      await expect(challengeEnrolment(request, policy({ trust: unknown }))).rejects.toMatchObject({
        code: 'untrusted',
      });
      await expect(challengeEnrolment(request, policy({ trust: {} }))).rejects.toMatchObject({ code: 'untrusted' });
      const listed = { trustedEks: [ekDigest(device.ek.public)] };
      await expect(challengeEnrolment(request, policy({ trust: listed }))).resolves.toBeInstanceOf(Uint8Array);
      const insecure = { insecureAcceptUnknownEk: true };
      await expect(challengeEnrolment(request, policy({ trust: insecure }))).resolves.toBeInstanceOf(Uint8Array);
    });

    it('asks the policy which TPM may have which names, before the challenge and before issuing', async () => {
      const request = await requestOf(device);
      const asked: string[] = [];
      const refusing = policy({ authorize: () => false });
      await expect(challengeEnrolment(request, refusing)).rejects.toMatchObject({ code: 'not-allowed' });
      const enrolling = policy({
        authorize: ({ ekDigest: digest, subject: name }) => asked.push(`${digest} ${name.commonName}`) > 0,
      });
      const challenge = await challengeEnrolment(request, enrolling);
      await completeEnrolment(await answerChallenge(device.tpm, { ...device, request, challenge }), enrolling);
      expect(asked).toEqual(Array(2).fill(`${ekDigest(device.ek.public)} edge 0001`));
    });

    it("refuses an EK certificate of another TPM's key", async () => {
      const ekCertificate = await readEkCertificate(second.tpm, 'rsa-2048');
      const request = await buildEnrolmentRequest(device.tpm, {
        ...device,
        ekCertificate,
        subject,
        subjectAltName: { uri: [uri] },
      });
      await expect(challengeEnrolment(request, policy())).rejects.toMatchObject({ code: 'key-mismatch' });
    });

    it('refuses a CSR that asks for more than the profile has', async () => {
      const signer = tpmSigner(device.tpm, device.deviceKey);
      const request = decodeMessage(EnrolmentRequest, await requestOf(device));
      const refusal = async (options: Parameters<typeof buildCsr>[1]) => {
        const csr = await buildCsr(signer, options);
        const fresh = await certify(device.tpm, { object: device.deviceKey, signer: device.ak, nonce: csrDigest(csr) });
        const message = { ...request, csr, certified: fresh.certified, certifySignature: fresh.signature };
        return challengeEnrolment(encodeMessage(EnrolmentRequest, message), policy());
      };
      const names = { subject, subjectAltName: { uri: [uri] } };
      await expect(refusal(names)).resolves.toBeInstanceOf(Uint8Array);
      await expect(refusal({ ...names, extendedKeyUsage: ['codeSigning'] })).rejects.toMatchObject({
        code: 'not-allowed',
      });
      const unknown = { oid: '1.3.6.1.4.1.55738.1', critical: false, value: Uint8Array.of(5, 0) };
      await expect(refusal({ ...names, extensions: [unknown] })).rejects.toMatchObject({
        code: 'not-allowed',
        message: expect.stringContaining('1.3.6.1.4.1.55738.1'),
      });
      await expect(refusal({ subject })).rejects.toMatchObject({ code: 'not-allowed' });
    });

    it('refuses keys with other attributes than an AK, a device key and an EK have', async () => {
      // Roles exchanged: an unrestricted key as AK would sign forged statements.
      const { ak, deviceKey, ek } = device;
      const swapped = await buildEnrolmentRequest(device.tpm, {
        ek,
        ak: deviceKey,
        deviceKey,
        subject,
        subjectAltName: { uri: [uri] },
      });
      await expect(challengeEnrolment(swapped, policy())).rejects.toMatchObject({ code: 'not-allowed' });
      const asEk = await buildEnrolmentRequest(device.tpm, {
        ek: ak,
        ak,
        deviceKey,
        subject,
        subjectAltName: { uri: [uri] },
      });
      await expect(
        challengeEnrolment(asEk, policy({ trust: { insecureAcceptUnknownEk: true } })),
      ).rejects.toMatchObject({
        code: 'not-allowed',
      });
    });

    it('refuses requests that are cut short or changed anywhere, with typed errors only', {
      timeout: 120_000,
    }, async () => {
      const request = await requestOf(device);
      for (let length = 0; length < request.length; length++) {
        await expect(challengeEnrolment(request.subarray(0, length), policy())).rejects.toMatchObject({
          name: 'PkiError',
        });
      }
      await fc.assert(
        fc.asyncProperty(fc.nat(request.length - 1), fc.integer({ min: 1, max: 255 }), async (at, bits) => {
          const changed = request.slice();
          changed[at] = (changed[at] ?? 0) ^ bits;
          await expect(challengeEnrolment(changed, policy())).rejects.toMatchObject({ name: 'PkiError' });
        }),
        { numRuns: 150 },
      );
    });
  },
);
