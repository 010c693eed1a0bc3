/** `revoke` and `crl`: taking certificates back. */
import { counted, EXIT, Failure, type Result, usage, writeOutputFile } from '@casemate/command-line';
import { parseCertificate } from '../../certificate.js';
import { parseCrl } from '../../crl.js';
import { createCrl } from '../../crl-build.js';
import { CRL_REASONS, type CrlReason } from '../../crl-entries.js';
import { PkiError } from '../../error.js';
import { encodePem } from '../../pem.js';
import { PROFILES } from '../../profile.js';
import { serialText } from '../../service/authority-store.js';
import { openTpmEnrolment } from '../../service/tpm-enrolment.js';
import { readRevocations, recordRevocation, takeCrlNumber } from '../../store-revocation.js';
import { openAuthority } from '../authority.js';
import type { CommandDefinition, Context } from '../definition.js';
import { readBlocks } from '../input.js';
import { OUT_OPTIONS, STORE_OPTIONS } from '../options.js';
import { DATABASE_OPTIONS, isServed, openService } from '../service.js';

type Reason = Exclude<CrlReason, 'removeFromCRL'>;

const REASONS = CRL_REASONS.filter((reason): reason is Reason => reason !== undefined && reason !== 'removeFromCRL');
const DAY = 86_400_000;

function caOf({ text }: Context): string {
  const name = text('ca');
  if (name === undefined) throw usage('--ca is missing', 'Give the name of the CA that issued.');
  return name;
}

/** Revokes a certificate. */
export const revokeCommand: CommandDefinition = {
  name: 'revoke',
  usage: 'SERIAL|FILE',
  summary: 'revoke a certificate of a CA, by its file or its serial number in hexadecimal',
  details:
    'It is on the next CRL; "casemate-pki crl" makes one. Of an authority that is served, the running service tells of it at once over OCSP.',
  options: {
    ...STORE_OPTIONS,
    ...DATABASE_OPTIONS,
    ca: { type: 'string', value: 'NAME', help: 'the CA that issued it' },
    ek: {
      type: 'boolean',
      help: 'of an authority that is served: SERIAL|FILE is a TPM instead, by the digest of its EK; it gets nothing any more, and everything that it has is revoked',
    },
    reason: { type: 'string', value: 'REASON', help: `one of ${REASONS.join(', ')}` },
  },
  examples: [
    'casemate-pki revoke edge.crt --ca device-ca --reason keyCompromise --passphrase file:secret',
    'casemate-pki revoke --ek 4f…c2 --passphrase file:secret',
  ],
  positionals: { min: 1, max: 1 },
  async run(context) {
    if (context.has('ek')) return await revokeTpm(context);
    const name = caOf(context);
    const word = context.text('reason') ?? 'unspecified';
    const reason = REASONS.find((each) => each === word);
    if (reason === undefined) throw usage(`--reason: expected one of ${REASONS.join(', ')}, got "${word}"`);
    if (await isServed(context)) return await revokeServed(context, name, reason);
    const authority = await openAuthority(context, name);
    authority.ca(name);
    const serialNumber = await serialOf(context, await issuedSerials(authority.store.issued(name)), name);
    await recordRevocation(authority.store.path, name, { serialNumber, revocationDate: new Date(), reason });
    const serial = serialNumber.toString(16);
    await authority.record({ event: 'revoke', issuer: name, serial, reason });
    return revoked(name, serial, reason);
  },
};

function revoked(issuer: string, serial: string, reason: string): Result {
  return {
    json: { issuer, serial, reason },
    text: `${serial} of ${issuer} is revoked (${reason}); the next CRL has it.`,
  };
}

/** In the database: a service that is running tells it from now on. */
async function revokeServed(context: Context, name: string, reason: Reason): Promise<Result> {
  await using service = await openService(context, { [name]: [] });
  const { authority } = service;
  const serialNumber = await serialGiven(context);
  const serial = serialText(serialNumber);
  if ((await authority.store.certificate(name, serial)) === undefined) throw neverIssued(name, serialNumber);
  try {
    await authority.revoke({ authority: name, serial, reason, requester: OPERATOR });
  } catch (error) {
    if (!(error instanceof PkiError) || error.code !== 'conflict') throw error;
    throw new Failure(EXIT.REFUSED, `${serialNumber.toString(16)} of ${name} is revoked already`, undefined, error);
  }
  return revoked(name, serialNumber.toString(16), reason);
}

async function revokeTpm(context: Context): Promise<Result> {
  const [digest = ''] = context.positionals;
  if (!/^[0-9a-f]{64}$/.test(digest))
    throw usage(`--ek: expected the SHA-256 of an EK as 64 hexadecimal digits, got "${digest}"`);
  if (!(await isServed(context)))
    throw new Failure(EXIT.REFUSED, 'this authority is not served: no TPM has anything of it');
  await using service = await openService(context, {
    'device-ca': [PROFILES.device],
    'attestation-ca': [PROFILES.attestationKey],
  });
  const enrolment = openTpmEnrolment({
    authority: service.authority,
    trust: { anchors: [] },
    attestation: { authority: 'attestation-ca', profile: PROFILES.attestationKey.name },
    device: { authority: 'device-ca', profile: PROFILES.device.name },
  });
  const count = await enrolment.revokeEndorsementKey(digest, OPERATOR);
  return {
    json: { ek: digest, certificates: count },
    text: `The TPM ${digest} is revoked, and ${counted(count, 'certificate')} of it.`,
  };
}

const OPERATOR = 'casemate-pki revoke';

async function issuedSerials(issued: Promise<readonly Uint8Array[]>): Promise<ReadonlySet<bigint>> {
  return new Set((await issued).map((der) => parseCertificate(der).serialNumber));
}

/** Only what the CA issued can be revoked: a slip of the hand would otherwise go unnoticed. */
async function serialOf(context: Context, issued: ReadonlySet<bigint>, name: string): Promise<bigint> {
  const serial = await serialGiven(context);
  if (issued.has(serial)) return serial;
  throw neverIssued(name, serial);
}

async function serialGiven(context: Context): Promise<bigint> {
  const [given = ''] = context.positionals;
  const digits = given.replace(/^0x/i, '').replaceAll(':', '');
  return /^[0-9a-f]{1,40}$/i.test(digits) ? BigInt(`0x${digits}`) : await serialInFile(given, context);
}

function neverIssued(name: string, serial: bigint): Failure {
  return new Failure(EXIT.REFUSED, `${name} has issued no certificate with the serial number ${serial.toString(16)}`);
}

async function serialInFile(path: string, context: Context): Promise<bigint> {
  const [der = new Uint8Array()] = await readBlocks(path, 'CERTIFICATE', context);
  return parseCertificate(der).serialNumber;
}

/** Makes a CRL. */
export const crlCommand: CommandDefinition = {
  name: 'crl',
  summary: 'make the CRL of a CA',
  options: {
    ...STORE_OPTIONS,
    ...DATABASE_OPTIONS,
    ca: { type: 'string', value: 'NAME', help: 'the CA' },
    days: { type: 'string', value: 'DAYS', help: 'until the next one is due; default 7' },
    der: { type: 'boolean', help: 'as DER, as HTTP serves it; PEM without it' },
    ...OUT_OPTIONS,
  },
  examples: ['casemate-pki crl --ca device-ca --der --out device-ca.crl --passphrase file:secret'],
  async run(context) {
    const name = caOf(context);
    const days = Number(context.text('days') ?? 7);
    if (!(days > 0 && days <= 3650)) throw usage(`--days: expected 1 to 3650, got "${context.text('days')}"`);
    const { der, number, entries, nextUpdate } = (await isServed(context))
      ? await publishServed(context, name)
      : await makeCrl(context, name, days);
    const out = context.text('out');
    const pem = encodePem('X509 CRL', der);
    const json = { issuer: name, number: number.toString(), entries, nextUpdate: nextUpdate.toISOString() };
    if (out === undefined) return { json: { ...json, pem }, text: pem };
    await writeOutputFile(out, context.has('der') ? der : pem);
    return {
      json: { ...json, out },
      text: `CRL ${number} of ${name} with ${counted(entries, 'certificate')}, next one by ${nextUpdate.toISOString().slice(0, 16)}Z, is in ${out}.`,
    };
  },
};

interface MadeCrl {
  readonly der: Uint8Array;
  readonly number: bigint;
  readonly entries: number;
  readonly nextUpdate: Date;
}

async function makeCrl(context: Context, name: string, days: number): Promise<MadeCrl> {
  const authority = await openAuthority(context, name);
  const { issuer } = authority.ca(name);
  const { path } = authority.store;
  const revoked = await readRevocations(path, name);
  const [number, thisUpdate] = [await takeCrlNumber(path, name), new Date()];
  const nextUpdate = new Date(thisUpdate.getTime() + days * DAY);
  const der = await createCrl({ issuer, number, revoked, thisUpdate, nextUpdate });
  await authority.record({ event: 'crl', issuer: name, number: number.toString(), entries: revoked.length });
  return { der, number, entries: revoked.length, nextUpdate };
}

/** A running service gives out this list from now on. */
async function publishServed(context: Context, name: string): Promise<MadeCrl> {
  if (context.text('days') !== undefined)
    throw usage('--days: the service has a schedule of its own for the lists of this CA');
  await using service = await openService(context, { [name]: [] });
  const { der, number, nextUpdate } = await service.authority.publishCrl(name, 'complete');
  return { der, number: BigInt(number), entries: parseCrl(der).entries.size, nextUpdate };
}
