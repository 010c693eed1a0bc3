/** The device's side of TPM enrolment over HTTPS. */
import type { Tpm } from '@casemate/tpm';
import { concat } from '../bytes.js';
import { DerReader, TAG } from '../der.js';
import { answerChallenge, buildEnrolmentRequest, type EnrolmentOptions } from '../enrolment-device.js';
import { decodeMessage, EnrolmentResult } from '../enrolment-message.js';
import { PkiError, type PkiErrorCode } from '../error.js';

/** Sends bytes to a service by POST: `fetch`, or anything that does the same with certificates of one's own. */
export type HttpPost = (
  path: string,
  type: string,
  body: Uint8Array,
) => Promise<{ readonly status: number; readonly body: Uint8Array }>;

/** What a device has after enrolment, DER. */
export interface DeviceEnrolment {
  /** For the AK. */
  readonly akCertificate: Uint8Array;
  /** From the AK's issuer up, without the root. */
  readonly akChain: readonly Uint8Array[];
  /** For the device key. */
  readonly deviceCertificate: Uint8Array;
  /** From the device key's issuer up, without the root. */
  readonly deviceChain: readonly Uint8Array[];
}

/**
 * Enrols a device: request, challenge, activation in the TPM, answer. A device that was cut off anywhere starts again.
 * Throws {@link PkiError} with the meaning of the service's refusal, and what the TPM refuses with.
 */
export async function enrolDevice(
  tpm: Tpm,
  options: EnrolmentOptions & { readonly post: HttpPost },
): Promise<DeviceEnrolment> {
  const request = await buildEnrolmentRequest(tpm, options);
  const challenge = await ask(options.post, '/tpm/challenge', request);
  const answer = await answerChallenge(tpm, { ek: options.ek, ak: options.ak, request, challenge });
  return parseEnrolmentResult(await ask(options.post, '/tpm/complete', answer));
}

async function ask(post: HttpPost, path: string, body: Uint8Array): Promise<Uint8Array> {
  const response = await post(path, 'application/octet-stream', body);
  if (response.status === 200) return response.body;
  const text = new TextDecoder().decode(response.body.subarray(0, 1024)).trim();
  throw new PkiError(
    CODES[response.status] ?? 'bad-input',
    `enrol: expected 200 of ${path}, got ${response.status}: ${text}`,
  );
}

const CODES: Readonly<Record<number, PkiErrorCode>> = {
  403: 'not-allowed',
  404: 'not-found',
  409: 'conflict',
  410: 'replayed',
  503: 'locked',
};

/** Reads what the service answered. Throws {@link PkiError} `malformed`. */
export function parseEnrolmentResult(message: Uint8Array): DeviceEnrolment {
  const { akCertificate, akChain, deviceCertificate, deviceChain } = decodeMessage(EnrolmentResult, message);
  return {
    akCertificate,
    akChain: split(akChain),
    deviceCertificate,
    deviceChain: split(deviceChain),
  };
}

function split(chain: Uint8Array): readonly Uint8Array[] {
  const reader = new DerReader(chain, 'EnrolmentResult');
  const found: Uint8Array[] = [];
  while (!reader.done) found.push(concat(reader.take(TAG.SEQUENCE, 'certificate').bytes));
  return found;
}

/** {@link HttpPost} by the platform's fetch. */
export function fetchPost(base: string, fetcher: typeof fetch = fetch): HttpPost {
  return async (path, type, body) => {
    const response = await fetcher(`${base}${path}`, {
      method: 'POST',
      headers: { 'content-type': type },
      body: body.slice(),
    });
    return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) };
  };
}
