/** The specification's tables as the tests read them; see vectors/SOURCE.md. */
import { readFileSync } from 'node:fs';

/** A table of constants. */
interface ConstantTable {
  readonly table: string;
  readonly type: string;
  readonly base: string;
  readonly members: readonly (readonly [name: string, value: number | null])[];
}

/** A table of bits. */
interface BitTable {
  readonly table: string;
  readonly type: string;
  readonly base: string;
  readonly fields: readonly (readonly [name: string, low: number, high: number])[];
}

/** A table of an interface type. */
interface InterfaceTable {
  readonly table: string;
  readonly type: string;
  readonly base: string;
  readonly expands?: readonly string[];
  readonly values: readonly string[];
}

/** A table of a structure. */
interface StructureTable {
  readonly table: string;
  readonly type: string;
  readonly fields: readonly (readonly [name: string, type: string, selector?: string])[];
}

/** A table of a union. */
interface UnionTable {
  readonly table: string;
  readonly type: string;
  readonly members: readonly (readonly [name: string, type: string, selector: string])[];
}

type Field = readonly [name: string, type: string];

/** The two tables of a command. */
interface CommandTable {
  readonly name: string;
  readonly code: number;
  readonly tables: readonly number[];
  readonly handles: readonly (readonly [name: string, type: string, role: string])[];
  readonly parameters: readonly Field[];
  readonly responseHandles: readonly Field[];
  readonly response: readonly Field[];
}

/** All tables. */
export interface Tables {
  readonly constants: readonly ConstantTable[];
  readonly bits: readonly BitTable[];
  readonly interfaces: readonly InterfaceTable[];
  readonly structures: readonly StructureTable[];
  readonly unions: readonly UnionTable[];
  readonly typedefs: readonly (readonly [name: string, base: string, table: number])[];
  readonly commands: readonly CommandTable[];
}

/** The tables of the specification. */
export const tables: Tables = JSON.parse(readFileSync(new URL('vectors/tpm2-tables.json', import.meta.url), 'utf8'));

/** Every constant of every table by its full name. */
export const constants: ReadonlyMap<string, number | null> = new Map(
  tables.constants.flatMap(({ members }) => members),
);

/** `TPM2B_PUBLIC_KEY_RSA` → `Tpm2bPublicKeyRsa`; with a `+` on either side, its variant with the conditional value. */
export function exportName(type: string): string {
  const bare = type.replaceAll('+', '');
  const name = bare
    .split('_')
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase())
    .join('');
  if (bare === type) return name;
  return bare === 'TPMI_SH_AUTH_SESSION' ? `${name}OrPassword` : `${name}OrNull`;
}
