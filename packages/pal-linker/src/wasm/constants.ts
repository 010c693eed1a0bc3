/** Numbers of relocatable WebAssembly objects. WebAssembly tool conventions, Linking.md. */

/** Kinds of imports. */
export const EXTERNAL = { FUNCTION: 0, TABLE: 1, MEMORY: 2, GLOBAL: 3 } as const;

/** Parts of the section `linking`. */
export const SUBSECTION = { SEGMENT_INFO: 5, INIT_FUNCS: 6, COMDAT_INFO: 7, SYMBOL_TABLE: 8 } as const;

/** Kinds of symbols. */
export const SYMBOL_KIND = { FUNCTION: 0, DATA: 1, GLOBAL: 2, SECTION: 3, TAG: 4, TABLE: 5 } as const;

/** Flags of symbols. */
export const SYMBOL_FLAG = {
  WEAK: 0x1,
  LOCAL: 0x2,
  UNDEFINED: 0x10,
  EXPORTED: 0x20,
  EXPLICIT_NAME: 0x40,
  NO_STRIP: 0x80,
  TLS: 0x100,
  ABSOLUTE: 0x200,
} as const;

/** Flags of segments. */
export const SEGMENT = { STRINGS: 1, TLS: 2, RETAIN: 4 } as const;

/** Types of relocations. */
export const RELOCATION = {
  FUNCTION_INDEX_LEB: 0,
  TABLE_INDEX_SLEB: 1,
  TABLE_INDEX_I32: 2,
  MEMORY_ADDR_LEB: 3,
  MEMORY_ADDR_SLEB: 4,
  MEMORY_ADDR_I32: 5,
  TYPE_INDEX_LEB: 6,
  GLOBAL_INDEX_LEB: 7,
  FUNCTION_OFFSET_I32: 8,
  SECTION_OFFSET_I32: 9,
  MEMORY_ADDR_REL_SLEB: 11,
  TABLE_INDEX_REL_SLEB: 12,
  GLOBAL_INDEX_I32: 13,
  TABLE_NUMBER_LEB: 20,
  MEMORY_ADDR_TLS_SLEB: 21,
  MEMORY_ADDR_LOCREL_I32: 23,
  FUNCTION_INDEX_I32: 26,
} as const;
