/** What went where in an image or object. */
import type { Layout } from './layout.js';

/** A section of an object in the image. */
export interface MapEntry {
  /** CODE, RODATA, DATA or BSS. */
  readonly section: string;
  /** Its address. */
  readonly address: number;
  /** Bytes. */
  readonly size: number;
  /** The object, `libc.a(memcpy.o)` for a member. */
  readonly object: string;
  /** The section of the object. */
  readonly input: string;
}

/** All that was placed, in the order of addresses. */
export function mapOf({ merged }: Layout): readonly MapEntry[] {
  return merged.flatMap(({ name, inputs }) =>
    inputs.map(({ object, section, address }) => ({
      section: name,
      address,
      size: section.size,
      object: object.elf.name,
      input: section.name,
    })),
  );
}
