/** Structures that TPM 1.1 and TPM 1.2 have in different forms, told apart by their first two bytes. */
import type { Codec } from '@casemate/wire';

/**
 * `tagged` where the next two bytes are `tag`, `versioned` (TPM_STRUCT_VER 1.1) otherwise. For writing, a value with a
 * `tag` is the tagged one.
 */
/* @__NO_SIDE_EFFECTS__ */
export function eitherVersion<A, B extends { readonly tag: number }>(
  name: string,
  versioned: Codec<A>,
  tag: number,
  tagged: Codec<B>,
): Codec<A | B> {
  const isTagged = (value: A | B): value is B => typeof value === 'object' && value !== null && 'tag' in value;
  return {
    name,
    read(r) {
      r.need(2, name);
      const at = r.offset;
      const first = ((r.bytes[at] ?? 0) << 8) | (r.bytes[at + 1] ?? 0);
      return first === tag ? tagged.read(r) : versioned.read(r);
    },
    write: (w, value) => (isTagged(value) ? tagged.write(w, value) : versioned.write(w, value)),
  };
}
