/** Objects that a derivation parent gives: Part 1, clause 28, and Part 3, 12.9. The same parent, label and context give the same key. */
import { TPM_RC, TpmsDerive } from '@casemate/tpm';
import { Reader } from '@casemate/wire';
import { concat, u32Bytes } from './bytes.js';
import type { UtpmCrypto } from './crypto.js';
import { readOrRefuse } from './decoding.js';
import type { ByteSource } from './prime.js';
import { refuse } from './refusal.js';

/** Bits that one derivation may give, which is also what each block of it is told. */
const MAX_BITS = 8192;

/** What a derivation starts from. */
export interface Derivation {
  /** The hash of the parent's scheme. */
  readonly hash: number;
  /** The parent's secret. */
  readonly key: Uint8Array;
  /** Label and context of the object. */
  readonly derive: TpmsDerive;
}

/** Bytes by KDFa (SP 800-108 in counter mode, with HMAC), one after another. Refuses with TPM_RC_NO_RESULT at the limit. */
export function derivationSource(crypto: UtpmCrypto, { hash, key, derive }: Derivation): ByteSource {
  const { label, context } = derive;
  // A label that ends in a zero has its separator already.
  const separator = label.at(-1) === 0 ? new Uint8Array(0) : Uint8Array.of(0);
  const fixed = concat(label, separator, context, u32Bytes(MAX_BITS));
  let counter = 0;
  let given = 0;
  let rest: Uint8Array = new Uint8Array(0);
  return (length) => {
    given += length;
    if (given * 8 > MAX_BITS) refuse(TPM_RC.NO_RESULT);
    while (rest.length < length) {
      counter++;
      rest = concat(rest, crypto.hmac(hash, key, u32Bytes(counter), fixed));
    }
    const out = rest.slice(0, length);
    rest = rest.slice(length);
    return out;
  };
}

/** Label and context: the template's, and where it has none, those in the sensitive data of the command. */
export function labelAndContext(template: TpmsDerive, data: Uint8Array): TpmsDerive {
  if (data.length === 0) return template;
  const given = readOrRefuse(TpmsDerive, new Reader(data));
  return {
    label: template.label.length > 0 ? template.label : given.label,
    context: template.context.length > 0 ? template.context : given.context,
  };
}
