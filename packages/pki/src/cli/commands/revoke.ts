/** `revoke` and `crl`: taking certificates back. */
import { EXIT, Failure, usage, writeOutputFile } from '@casemate/command-line';
import { parseCertificate } from '../../certificate.js';
import { createCrl } from '../../crl-build.js';
import { CRL_REASONS, type CrlReason } from '../../crl-entries.js';
import { encodePem } from '../../pem.js';
import { readRevocations, recordRevocation, takeCrlNumber } from '../../store-revocation.js';
import { openAuthority } from '../authority.js';
import type { CommandDefinition, Context } from '../definition.js';
import { readBlocks } from '../input.js';
import { OUT_OPTIONS, STORE_OPTIONS } from '../options.js';

const REASONS = CRL_REASONS.filter((reason): reason is CrlReason => reason !== undefined && reason !== 'removeFromCRL');
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
  details: 'It is on the next CRL; "casemate-pki crl" makes one.',
  options: {
    ...STORE_OPTIONS,
    ca: { type: 'string', value: 'NAME', help: 'the CA that issued it' },
    reason: { type: 'string', value: 'REASON', help: `one of ${REASONS.join(', ')}` },
  },
  examples: ['casemate-pki revoke edge.crt --ca device-ca --reason keyCompromise --passphrase file:secret'],
  positionals: { min: 1, max: 1 },
  async run(context) {
    const name = caOf(context);
    const word = context.text('reason') ?? 'unspecified';
    const reason = REASONS.find((each) => each === word);
    if (reason === undefined) throw usage(`--reason: expected one of ${REASONS.join(', ')}, got "${word}"`);
    const authority = await openAuthority(context, name);
    authority.ca(name);
    const serialNumber = await serialOf(context, await issuedSerials(authority.store.issued(name)), name);
    await recordRevocation(authority.store.path, name, { serialNumber, revocationDate: new Date(), reason });
    const serial = serialNumber.toString(16);
    await authority.record({ event: 'revoke', issuer: name, serial, reason });
    return {
      json: { issuer: name, serial, reason },
      text: `${serial} of ${name} is revoked (${reason}); the next CRL has it.`,
    };
  },
};

async function issuedSerials(issued: Promise<readonly Uint8Array[]>): Promise<ReadonlySet<bigint>> {
  return new Set((await issued).map((der) => parseCertificate(der).serialNumber));
}

/** Only what the CA issued can be revoked: a slip of the hand would otherwise go unnoticed. */
async function serialOf(context: Context, issued: ReadonlySet<bigint>, name: string): Promise<bigint> {
  const [given = ''] = context.positionals;
  const digits = given.replace(/^0x/i, '').replaceAll(':', '');
  const serial = /^[0-9a-f]+$/i.test(digits) ? BigInt(`0x${digits}`) : await serialInFile(given, context);
  if (issued.has(serial)) return serial;
  throw new Failure(EXIT.REFUSED, `${name} has issued no certificate with the serial number ${serial.toString(16)}`);
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
    const authority = await openAuthority(context, name);
    const { issuer } = authority.ca(name);
    const { path } = authority.store;
    const revoked = await readRevocations(path, name);
    const [number, thisUpdate] = [await takeCrlNumber(path, name), new Date()];
    const nextUpdate = new Date(thisUpdate.getTime() + days * DAY);
    const der = await createCrl({ issuer, number, revoked, thisUpdate, nextUpdate });
    await authority.record({ event: 'crl', issuer: name, number: number.toString(), entries: revoked.length });
    const out = context.text('out');
    const pem = encodePem('X509 CRL', der);
    const json = {
      issuer: name,
      number: number.toString(),
      entries: revoked.length,
      nextUpdate: nextUpdate.toISOString(),
    };
    if (out === undefined) return { json: { ...json, pem }, text: pem };
    await writeOutputFile(out, context.has('der') ? der : pem);
    return {
      json: { ...json, out },
      text: `CRL ${number} of ${name} with ${revoked.length} certificates, next one by ${nextUpdate.toISOString().slice(0, 16)}Z, is in ${out}.`,
    };
  },
};
