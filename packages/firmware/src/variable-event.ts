/** What firmware logs when it measures a UEFI variable: UEFI_VARIABLE_DATA. PC Client Platform Firmware Profile 1.06, section 10.2.6. */
import { type Codec, decode, encode, u16le, u64le, WireError } from '@casemate/wire';
import { refusing } from './error.js';
import { EfiGuid } from './guid.js';

const MAX_NAME = 1024;
const MAX_DATA = 1024 * 1024;

/** A measured UEFI variable. */
export interface UefiVariableData {
  /** Vendor GUID of the variable, lower case. */
  readonly variableName: string;
  /** Name of the variable, such as `SecureBoot`, `PK`, `db`. */
  readonly unicodeName: string;
  /** Its value; for the signature databases an {@link EfiSignatureList} sequence. */
  readonly variableData: Uint8Array;
}

/** UEFI_VARIABLE_DATA, the data of the EV_EFI_VARIABLE_… events. The name is UTF-16 without a terminator. */
export const UefiVariableData: Codec<UefiVariableData> = {
  name: 'UEFI_VARIABLE_DATA',
  read(r) {
    const variableName = EfiGuid.read(r);
    const at = r.offset;
    const nameLength = bounded('unicodeNameLength', u64le.read(r), MAX_NAME, at);
    const dataLength = bounded('variableDataLength', u64le.read(r), MAX_DATA, at + 8);
    r.need(2 * nameLength, 'unicodeName');
    const units = Array.from({ length: nameLength }, () => u16le.read(r));
    return { variableName, unicodeName: fromUtf16(units), variableData: r.take(dataLength, 'variableData') };
  },
  write(w, value) {
    if (value.unicodeName.length > MAX_NAME) throw w.refuse('unicodeName', `expected at most ${MAX_NAME} characters`);
    if (value.variableData.length > MAX_DATA) throw w.refuse('variableData', `expected at most ${MAX_DATA} bytes`);
    EfiGuid.write(w, value.variableName);
    u64le.write(w, BigInt(value.unicodeName.length));
    u64le.write(w, BigInt(value.variableData.length));
    for (let i = 0; i < value.unicodeName.length; i++) u16le.write(w, value.unicodeName.charCodeAt(i));
    w.put(value.variableData, 'variableData');
  },
};

/** Parses the data of an EV_EFI_VARIABLE_DRIVER_CONFIG, _BOOT2 or _AUTHORITY event. Throws {@link FirmwareError} `malformed`. */
export function parseVariableEvent(event: Uint8Array): UefiVariableData {
  return refusing('malformed', 'parse variable event', () => decode(UefiVariableData, event));
}

/** Encodes a variable as firmware measures it. Throws {@link FirmwareError} `bad-input`. */
export function encodeVariableEvent(variable: UefiVariableData): Uint8Array {
  return refusing('bad-input', 'encode variable event', () => encode(UefiVariableData, variable));
}

function bounded(name: string, length: bigint, max: number, offset: number): number {
  if (length <= max) return Number(length);
  throw new WireError('too-long', `decode ${name}`, `expected at most ${max}, got ${length}`, offset);
}

/** Unpaired surrogates stay as they are, so that the name encodes to the same bytes again. */
function fromUtf16(units: readonly number[]): string {
  return units.map((unit) => String.fromCharCode(unit)).join('');
}
