/** Values of TPM structures with everything in them that has a name, as a tree. */

/** One value, spelled. */
export type Spelled =
  /** A structure, its fields in wire order. */
  | { readonly kind: 'struct'; readonly fields: readonly (readonly [name: string, value: Spelled])[] }
  /** A list. */
  | { readonly kind: 'list'; readonly items: readonly Spelled[] }
  /** A number that is only a number. */
  | { readonly kind: 'number'; readonly value: number | bigint; readonly meaning?: string }
  /** A number with a name in the specification; without one, `name` is the number in hexadecimal. */
  | { readonly kind: 'constant'; readonly name: string; readonly value: number }
  /** Bits with names. */
  | { readonly kind: 'flags'; readonly names: readonly string[]; readonly value: number }
  /** A handle; `name` says what it stands for. */
  | { readonly kind: 'handle'; readonly value: number; readonly name: string }
  /** PCRs of one bank. */
  | { readonly kind: 'pcrs'; readonly hash: string; readonly indexes: readonly number[] }
  /** Yes or no. */
  | { readonly kind: 'boolean'; readonly value: boolean }
  /** Bytes. */
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** Bytes that hold an encoded structure. */
  | { readonly kind: 'encoded'; readonly type: string; readonly bytes: Uint8Array; readonly value: Spelled }
  /** Bytes that a session encrypted. */
  | { readonly kind: 'encrypted'; readonly bytes: Uint8Array }
  /** A secret that is not shown; `length` in bytes, where that is no secret too. */
  | { readonly kind: 'redacted'; readonly length: number | undefined }
  /** Nothing: an optional value that is absent. */
  | { readonly kind: 'absent' };

/** A spelled value as JSON: names for numbers that have one, hexadecimal strings for bytes, decimal strings for 64-bit numbers. */
export type SpelledJson =
  | string
  | number
  | boolean
  | null
  | readonly SpelledJson[]
  | { readonly [name: string]: SpelledJson };

/** The JSON form of a spelled value. */
export function spelledJson(value: Spelled): SpelledJson {
  switch (value.kind) {
    case 'struct':
      return Object.fromEntries(value.fields.map(([name, field]) => [name, spelledJson(field)]));
    case 'list':
      return value.items.map(spelledJson);
    case 'number':
      return typeof value.value === 'bigint' ? value.value.toString() : value.value;
    case 'constant':
      return value.name;
    case 'flags':
      return value.names;
    case 'handle':
      return { handle: hexNumber(value.value, 8), name: value.name };
    case 'pcrs':
      return { hash: value.hash, pcrs: value.indexes };
    case 'boolean':
      return value.value;
    case 'bytes':
      return hexBytes(value.bytes);
    case 'encoded':
      return { bytes: hexBytes(value.bytes), [value.type]: spelledJson(value.value) };
    case 'encrypted':
      return { encrypted: hexBytes(value.bytes) };
    case 'redacted':
      return { redacted: value.length ?? true };
    case 'absent':
      return null;
  }
}

/** `0x` and the digits, padded to `width`. */
export function hexNumber(value: number, width = 0): string {
  return `0x${(value >>> 0).toString(16).padStart(width, '0')}`;
}

/** Lower-case hexadecimal digits. */
export function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
