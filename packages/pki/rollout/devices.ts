/** Some of the devices of a roll-out: each is a uTPM with a certificate of its maker, and enrols over HTTPS until it has its own. */
import { Agent, request } from 'node:https';
import { createCertificate, importKey, parseCertificate } from '@casemate/pki';
import { enrolDevice, type HttpPost, serialText } from '@casemate/pki/service';
import {
  akTemplate,
  createKey,
  createPrimary,
  ekTemplate,
  loadKey,
  publicKeySpki,
  signingKeyTemplate,
  srkTemplate,
  Tpm,
} from '@casemate/tpm';
import { openUtpm } from '@casemate/utpm';
import { type DevicePlan, type DeviceReport, deviceUri, EK_PROFILE } from './plan.js';

// The parent wrote it.
const plan = JSON.parse(process.argv[2] ?? '') as DevicePlan;
const agent = new Agent({ keepAlive: true, maxSockets: plan.lanes, ca: plan.tls.root, servername: 'localhost' });
const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));
const maker = {
  certificate: parseCertificate(bytes(plan.maker.certificate)),
  signer: await importKey(bytes(plan.maker.key)),
};

/** What a connection ends with when its service is killed. */
const PASSING: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECUTSHORT']);

let next = plan.first;
await Promise.all(Array.from({ length: plan.lanes }, lane));
agent.destroy();

async function lane(): Promise<void> {
  while (next < plan.first + plan.count) {
    const device = next++;
    const report = await enrol(device);
    if (process.send === undefined) throw new Error('expected a parent process');
    process.send(report);
  }
}

async function enrol(device: number): Promise<DeviceReport> {
  const tpm = new Tpm(await openUtpm({ startup: true }));
  const kind = 'ecc-p256';
  const srk = await createPrimary(tpm, { template: srkTemplate(kind) });
  const ak = await loadKey(tpm, srk, await createKey(tpm, srk, { template: akTemplate(kind) }));
  const deviceKey = await loadKey(tpm, srk, await createKey(tpm, srk, { template: signingKeyTemplate(kind) }));
  await srk.flush();
  const ek = await createPrimary(tpm, { hierarchy: 'endorsement', template: ekTemplate(kind) });
  const ekCertificate = await createCertificate({
    profile: EK_PROFILE,
    subject: {},
    subjectAltName: { tpm: ['id:55544D00/utpm/id:00010000'] },
    publicKey: publicKeySpki(ek.public),
    issuer: maker,
  });
  const number = String(device).padStart(6, '0');
  const subject = { countryName: 'DE', organizationName: 'Maker', commonName: `edge ${number}`, serialNumber: number };
  const subjectAltName = { uri: [deviceUri(device)] };
  const requests: number[] = [];
  const start = performance.now();
  for (let retries = 0; ; retries++) {
    const base = plan.services[(device + retries) % plan.services.length] ?? '';
    try {
      const post = timed(postTo(base), requests);
      const got = await enrolDevice(tpm, { ek, ak, deviceKey, ekCertificate, subject, subjectAltName, post });
      const enrolment = performance.now() - start;
      const serials = [serialOf(got.akCertificate), serialOf(got.deviceCertificate)] as const;
      await tpm.close();
      return { device, enrolment, requests, retries, serials };
    } catch (error) {
      if (!isPassing(error) || retries === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 200));
    }
  }
}

function serialOf(certificate: Uint8Array): string {
  return serialText(parseCertificate(certificate).serialNumber);
}

/** Whether the service was killed, or is starting. Any other refusal ends the roll-out. */
function isPassing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && PASSING.has(String(error.code));
}

function timed(post: HttpPost, times: number[]): HttpPost {
  return async (path, type, body) => {
    const start = performance.now();
    const response = await post(path, type, body);
    if (response.status === 200) times.push(performance.now() - start);
    return response;
  };
}

function postTo(base: string): HttpPost {
  return (path, type, body) =>
    new Promise((resolve, reject) => {
      const headers = { 'content-type': type, 'content-length': body.length };
      const sent = request(`${base}${path}`, { method: 'POST', agent, headers, timeout: 30_000 }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('error', reject);
        response.on('close', () => {
          if (!response.complete)
            return reject(Object.assign(new Error('the answer was cut short'), { code: 'ECUTSHORT' }));
          resolve({ status: response.statusCode ?? 0, body: new Uint8Array(Buffer.concat(parts)) });
        });
      });
      sent.on('timeout', () => sent.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })));
      sent.on('error', reject);
      sent.end(body);
    });
}
