/** Certificates and what belongs to them, in words. */
import { type Json, type Style, table } from '@casemate/command-line';
import { sha256 } from '@noble/hashes/sha2.js';
import { type PublicKeyInfo, parsePublicKey, parseSignatureIdentifier, type SignatureScheme } from '../algorithm.js';
import { toHex } from '../bytes.js';
import type { Certificate } from '../certificate.js';
import type { Crl } from '../crl.js';
import type { Csr } from '../csr.js';
import { PkiError } from '../error.js';
import type { GeneralName } from '../general-name.js';
import { nameText } from '../name.js';
import { EXTENDED_KEY_USAGE } from '../oid.js';

/** A thing in words and for programs. */
export interface Description {
  readonly json: { readonly [name: string]: Json };
  readonly text: string;
}

/** A certificate. */
export function describeCertificate(certificate: Certificate, style: Style): Description {
  const { subject, issuer, notBefore, notAfter, basicConstraints: basic } = certificate;
  const days = Math.floor((notAfter.getTime() - Date.now()) / 86_400_000);
  const left = days < 0 ? `EXPIRED ${-days} days ago` : `${days} days left`;
  const isCa = basic?.ca === true;
  const json = {
    type: 'certificate',
    subject: nameText(subject),
    issuer: nameText(issuer),
    serial: certificate.serialNumber.toString(16),
    notBefore: notBefore.toISOString(),
    notAfter: notAfter.toISOString(),
    key: keyText(certificate.publicKey),
    signature: schemeText(certificate.signatureAlgorithm),
    ca: isCa,
    pathLength: basic?.pathLength ?? null,
    keyUsage: [...(certificate.keyUsage ?? [])],
    extendedKeyUsage: (certificate.extendedKeyUsage ?? []).map(usageText),
    names: (certificate.subjectAltName ?? []).map(generalText),
    sha256: toHex(sha256(certificate.der)),
  };
  const { permitted = [], excluded = [] } = certificate.nameConstraints ?? {};
  const rows = [
    ['issuer', json.issuer],
    ['serial', json.serial],
    ['valid', `${json.notBefore.slice(0, 16)}Z to ${json.notAfter.slice(0, 16)}Z, ${left}`],
    ['key', `${json.key}, signed with ${json.signature}`],
    ['role', isCa ? `CA, path length ${basic?.pathLength ?? 'unlimited'}` : 'end entity'],
    ['key usage', json.keyUsage.join(', ')],
    ['purposes', json.extendedKeyUsage.join(', ')],
    ['names', json.names.join(', ')],
    ['permitted', permitted.map(generalText).join(', ')],
    ['excluded', excluded.map(generalText).join(', ')],
    ['SHA-256', json.sha256],
  ];
  return { json, text: titled('certificate', json.subject, rows, style) };
}

/** A request. */
export function describeCsr(csr: Csr, style: Style): Description {
  const json = {
    type: 'request',
    subject: nameText(csr.subject),
    key: keyText(csr.publicKey),
    names: (csr.subjectAltName ?? []).map(generalText),
  };
  const rows = [
    ['key', json.key],
    ['names', json.names.join(', ')],
    ['key usage', [...(csr.keyUsage ?? [])].join(', ')],
    ['purposes', (csr.extendedKeyUsage ?? []).map(usageText).join(', ')],
  ];
  return { json, text: titled('request', json.subject, rows, style) };
}

/** A CRL. */
export function describeCrl(crl: Crl, style: Style): Description {
  const json = {
    type: crl.baseNumber === undefined ? 'crl' : 'delta-crl',
    issuer: nameText(crl.issuer),
    number: crl.number?.toString() ?? null,
    thisUpdate: crl.thisUpdate.toISOString(),
    nextUpdate: crl.nextUpdate?.toISOString() ?? null,
    entries: crl.entries.size,
  };
  const first = [...firstOf(crl.entries, 10)].map(({ serialNumber, revocationDate, reason }) => [
    'revoked',
    `${serialNumber.toString(16)} on ${revocationDate.toISOString().slice(0, 10)} (${reason ?? 'unspecified'})`,
  ]);
  const more = crl.entries.size > 10 ? [['', `and ${crl.entries.size - 10} more`]] : [];
  const rows = [
    ['number', json.number ?? 'none'],
    ['made', json.thisUpdate],
    ['next', json.nextUpdate ?? 'not told'],
    ['entries', String(json.entries)],
    ...first,
    ...more,
  ];
  return { json, text: titled(json.type === 'crl' ? 'CRL' : 'delta CRL', json.issuer, rows, style) };
}

function* firstOf<T>(all: Iterable<T>, count: number): Generator<T> {
  let given = 0;
  for (const each of all) {
    if (given++ === count) return;
    yield each;
  }
}

/** A heading and rows below it, without those that are empty. */
export function titled(kind: string, title: string, rows: readonly (readonly string[])[], style: Style): string {
  const full = rows
    .filter(([, value]) => value !== '')
    .map(([name = '', value = '']) => [style.faint(name), printable(value)]);
  return `${style.bold(`${kind} ${printable(title)}`)}\n${table(full, { indent: 2 })}`;
}

/** Text of certificates is anybody's: nothing in it may drive a terminal or turn the direction of writing. */
function printable(text: string): string {
  return Array.from(text, (character) => (isPrintable(character.codePointAt(0) ?? 0) ? character : '\u00b7')).join('');
}

function isPrintable(code: number): boolean {
  const isControl = code < 0x20 || (code >= 0x7f && code <= 0x9f);
  return !isControl && !(code >= 0x202a && code <= 0x202e) && !(code >= 0x2066 && code <= 0x2069);
}

/** A public key in a few words. */
export function keyText(spki: Uint8Array): string {
  const key = understood(() => parsePublicKey(spki));
  return key === undefined ? 'of an unknown or weak kind' : kindText(key);
}

function kindText(key: PublicKeyInfo): string {
  switch (key.kind) {
    case 'ec':
      return key.curve;
    case 'rsa':
      return `RSA-${key.bits}${key.scheme === undefined ? '' : ' (PSS)'}`;
    case 'ed25519':
      return 'Ed25519';
    case 'ml-dsa':
      return `ML-DSA-${key.set}`;
  }
}

function schemeText(identifier: Uint8Array): string {
  const scheme: SignatureScheme | undefined = understood(() => parseSignatureIdentifier(identifier, 'signature'));
  if (scheme === undefined) return 'an unknown or weak algorithm';
  return 'hash' in scheme ? `${scheme.kind} ${scheme.hash}` : scheme.kind;
}

function understood<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

function usageText(dotted: string): string {
  return Object.entries(EXTENDED_KEY_USAGE).find(([, oid]) => oid === dotted)?.[0] ?? dotted;
}

function generalText(name: GeneralName): string {
  switch (name.type) {
    case 'ip':
      return `ip ${name.value.length === 4 ? name.value.join('.') : toHex(name.value)}`;
    case 'directory':
      return `directory ${nameText(name.value)}`;
    case 'other':
      return `other ${toHex(name.value)}`;
    default:
      return `${name.type} ${name.value}`;
  }
}
