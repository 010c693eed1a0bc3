/**
 * Alternative names of devices: permanent identifiers (RFC 4043), hardware modules (RFC 4108 section 5) and what an endorsement key
 * certificate says of its TPM (TCG EK Credential Profile 2.5, section 3.1.2).
 */
import { toHex } from './bytes.js';
import { constructed, DerReader, octetString, oid, oidValue, sequence, setOf, TAG, tlv, utf8 } from './der.js';
import { malformed, PkiError } from './error.js';
import type { GeneralName } from './general-name.js';
import { parseName } from './name.js';

const OTHER_NAME = { permanentIdentifier: '1.3.6.1.5.5.7.8.3', hardwareModule: '1.3.6.1.5.5.7.8.4' } as const;
const TPM_ATTRIBUTE = { manufacturer: '2.23.133.2.1', model: '2.23.133.2.2', version: '2.23.133.2.3' } as const;

/** What a certificate says of a TPM: its maker as `id:` and eight hexadecimal digits, its model and its firmware's version. */
export interface TpmIdentity {
  /** `id:` and the vendor identifier of the TCG's registry: `id:494E5443` is Intel. */
  readonly manufacturer: string;
  /** The maker's word. */
  readonly model: string;
  /** Usually `id:` and eight hexadecimal digits. */
  readonly version: string;
}

/** A permanent identifier as an alternative name. Throws {@link PkiError} `bad-input` for an empty or too long one. */
export function encodePermanentIdentifier(value: string): GeneralName {
  if (value.length === 0 || value.length > 256) {
    throw new PkiError('bad-input', `encode permanentIdentifier: expected 1 to 256 characters, got ${value.length}`);
  }
  return otherName(OTHER_NAME.permanentIdentifier, sequence(utf8(value)));
}

/** A hardware module in text as an alternative name. Throws {@link PkiError} `bad-input` for another text. */
export function encodeHardwareModule(value: string): GeneralName {
  const [, type = '', serial = ''] = /^([012](?:\.\d+)+)\/((?:[0-9a-f]{2}){1,64})$/.exec(value) ?? [];
  if (serial === '') {
    throw new PkiError('bad-input', `encode hardwareModuleName: expected OID/hexadecimal digits, got "${value}"`);
  }
  const digits = Uint8Array.from(serial.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  return otherName(OTHER_NAME.hardwareModule, sequence(oid(type), octetString(digits)));
}

/** A TPM in text as an alternative name. Throws {@link PkiError} `bad-input` for another text. */
export function encodeTpmName(value: string): GeneralName {
  const [manufacturer = '', model = '', version = '', ...more] = value.split('/');
  if (!/^id:[0-9A-Fa-f]{8}$/.test(manufacturer) || model === '' || version === '' || more.length > 0) {
    throw new PkiError('bad-input', `encode TPM name: expected id:XXXXXXXX/model/version, got "${value}"`);
  }
  const attribute = (type: string, text: string) => setOf(sequence(oid(type), utf8(text)));
  const name = sequence(
    attribute(TPM_ATTRIBUTE.manufacturer, manufacturer),
    attribute(TPM_ATTRIBUTE.model, model),
    attribute(TPM_ATTRIBUTE.version, version),
  );
  return { type: 'directory', value: parseName(name, 'TPM name') };
}

function otherName(type: string, value: Uint8Array): GeneralName {
  return { type: 'other', tag: 0, value: tlv(constructed(0), oid(type), tlv(constructed(0), value)) };
}

/** The device that an otherName names; undefined where it is another kind of name. Throws {@link PkiError} `malformed`. */
export function parseDeviceName(
  name: GeneralName,
): { readonly type: 'permanentIdentifier' | 'hardwareModule'; readonly value: string } | undefined {
  if (name.type !== 'other' || name.tag !== 0) return undefined;
  const what = 'otherName';
  const reader = new DerReader(name.value, what).enter(constructed(0), 'otherName');
  const type = oidValue(reader.take(TAG.OID, 'type-id').content, what);
  if (type !== OTHER_NAME.permanentIdentifier && type !== OTHER_NAME.hardwareModule) return undefined;
  const explicit = reader.enter(constructed(0), 'value');
  reader.finish();
  const value = explicit.enter(TAG.SEQUENCE, 'value');
  explicit.finish();
  return type === OTHER_NAME.permanentIdentifier ? permanentIdentifier(value) : hardwareModule(value);
}

/** Without a value it means the subject's serial number, and an assigner makes it another's word: neither is taken. */
function permanentIdentifier(value: DerReader): { type: 'permanentIdentifier'; value: string } {
  const { content } = value.take(TAG.UTF8, 'identifierValue');
  value.finish();
  if (content.length === 0 || content.length > 1024) {
    throw malformed('permanentIdentifier', `expected 1 to 1024 bytes, got ${content.length}`);
  }
  try {
    return { type: 'permanentIdentifier', value: new TextDecoder('utf-8', { fatal: true }).decode(content) };
  } catch (cause) {
    throw malformed('permanentIdentifier', 'expected UTF-8, got other bytes', cause);
  }
}

function hardwareModule(value: DerReader): { type: 'hardwareModule'; value: string } {
  const type = oidValue(value.take(TAG.OID, 'hwType').content, 'hardwareModuleName');
  const serial = value.take(TAG.OCTET_STRING, 'hwSerialNum').content;
  value.finish();
  if (serial.length === 0 || serial.length > 64) {
    throw malformed('hardwareModuleName', `expected a serial number of 1 to 64 bytes, got ${serial.length}`);
  }
  return { type: 'hardwareModule', value: `${type}/${toHex(serial)}` };
}

/** What the alternative names of an EK or AK certificate say of the TPM; undefined where they lack one of the three. */
export function tpmIdentity(names: readonly GeneralName[] | undefined): TpmIdentity | undefined {
  for (const name of names ?? []) {
    if (name.type !== 'directory') continue;
    const attributes = name.value.relativeNames.flat();
    const find = (type: string) => attributes.find((each) => each.type === type)?.value;
    const manufacturer = find(TPM_ATTRIBUTE.manufacturer);
    const model = find(TPM_ATTRIBUTE.model);
    const version = find(TPM_ATTRIBUTE.version);
    if (manufacturer !== undefined && model !== undefined && version !== undefined) {
      return { manufacturer, model, version };
    }
  }
  return undefined;
}
