/** Alternative names and name constraints as plain text data, as profiles, templates and callers write them. */
import { concat } from './bytes.js';
import { encodeHardwareModule, encodePermanentIdentifier, encodeTpmName } from './device-name.js';
import { PkiError } from './error.js';
import { isDnsName, isMailbox, type NameConstraints } from './extension.js';
import { type GeneralName, parseIpAddress } from './general-name.js';
import { buildName, type NameInput, parseName } from './name.js';

/** Alternative names in text. */
export interface AlternativeNames {
  /** Host names in ASCII; the first label may be `*`. */
  readonly dns?: readonly string[];
  /** Mailboxes. */
  readonly email?: readonly string[];
  /** Absolute URIs, for example `urn:uuid:…`. */
  readonly uri?: readonly string[];
  /** IPv4 or IPv6 addresses. */
  readonly ip?: readonly string[];
  /** Permanent identifiers of devices without an assigner (RFC 4043), as ACME's `permanent-identifier` orders them. */
  readonly permanentIdentifier?: readonly string[];
  /** Hardware modules as `OID/hexadecimal serial number` (RFC 4108 section 5), for example `1.3.6.1.4.1.55738.1/0a1b`. */
  readonly hardwareModule?: readonly string[];
  /** TPMs as `manufacturer/model/version`, for example `id:00001014/swtpm/id:20191023` (TCG EK Credential Profile 3.1.2). */
  readonly tpm?: readonly string[];
}

/** The types of names that {@link AlternativeNames} has. */
export type AlternativeNameType = keyof AlternativeNames;

/** Subtrees for name constraints in text. */
export interface NameSubtrees {
  /** Domains; the empty text stands for every domain. */
  readonly dns?: readonly string[];
  /** Mailboxes, hosts, or domains with a leading period. */
  readonly email?: readonly string[];
  /** Hosts, or domains with a leading period. */
  readonly uri?: readonly string[];
  /** Address ranges as `10.0.0.0/8`. */
  readonly ip?: readonly string[];
  /** Distinguished names under which a name must (not) lie. */
  readonly directory?: readonly NameInput[];
}

/** Name constraints in text. */
export interface NameConstraintsInput {
  /** A name of a type that is here must lie in one of these. */
  readonly permitted?: NameSubtrees;
  /** No name may lie in one of these. */
  readonly excluded?: NameSubtrees;
}

/** The names in the order of {@link AlternativeNames}. Throws {@link PkiError} `bad-input` for text that is no such name. */
export function generalNames(names: AlternativeNames): readonly GeneralName[] {
  return [
    ...(names.dns ?? []).map((value): GeneralName => ({ type: 'dns', value: assertDns(value) })),
    ...(names.email ?? []).map((value): GeneralName => ({ type: 'email', value: assertMailbox(value) })),
    ...(names.uri ?? []).map((value): GeneralName => ({ type: 'uri', value: assertUri(value) })),
    ...(names.ip ?? []).map((value): GeneralName => ({ type: 'ip', value: parseIpAddress(value) })),
    ...(names.permanentIdentifier ?? []).map(encodePermanentIdentifier),
    ...(names.hardwareModule ?? []).map(encodeHardwareModule),
    ...(names.tpm ?? []).map(encodeTpmName),
  ];
}

function assertDns(value: string): string {
  if (isDnsName(value.replace(/^\*\./, ''))) return value;
  throw new PkiError('bad-input', `encode subjectAltName: expected a host name, got "${value}"`);
}

function assertMailbox(value: string): string {
  if (isMailbox(value)) return value;
  throw new PkiError('bad-input', `encode subjectAltName: expected a mailbox, got "${value}"`);
}

function assertUri(value: string): string {
  if (/^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+$/.test(value)) return value;
  throw new PkiError('bad-input', `encode subjectAltName: expected an absolute URI, got "${value}"`);
}

/** The constraints as the extension holds them. Throws {@link PkiError} `bad-input`. */
export function nameConstraintsFrom(input: NameConstraintsInput): NameConstraints {
  return { permitted: subtrees(input.permitted), excluded: subtrees(input.excluded) };
}

function subtrees(input: NameSubtrees = {}): readonly GeneralName[] {
  return [
    ...(input.dns ?? []).map((value): GeneralName => ({ type: 'dns', value })),
    ...(input.email ?? []).map((value): GeneralName => ({ type: 'email', value })),
    ...(input.uri ?? []).map((value): GeneralName => ({ type: 'uri', value })),
    ...(input.ip ?? []).map((value): GeneralName => ({ type: 'ip', value: addressRange(value) })),
    ...(input.directory ?? []).map((value): GeneralName => ({ type: 'directory', value: parseName(buildName(value)) })),
  ];
}

function addressRange(text: string): Uint8Array {
  const [address = '', prefix = ''] = text.split('/');
  const bytes = parseIpAddress(address);
  const bits = Number(prefix);
  if (!/^\d{1,3}$/.test(prefix) || bits > bytes.length * 8) {
    throw new PkiError('bad-input', `encode nameConstraints: expected an address range as 10.0.0.0/8, got "${text}"`);
  }
  const mask = bytes.map((_, i) => 0xff & ~(0xff >> Math.min(8, Math.max(0, bits - i * 8))));
  return concat(bytes, mask);
}
