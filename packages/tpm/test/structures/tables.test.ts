/** Constants, bit fields, interface types, structures and unions against the specification's tables. */
import { type Codec, decode, encode, type Fields, type StructCodec, u8, u16, u32, WireError } from '@casemate/wire';
import { describe, expect, it } from 'vitest';
import * as tpm from '../../src/index.js';
import { constants, exportName, tables } from '../tables.js';

const exported: Readonly<Record<string, unknown>> = tpm;

function codecOf(name: string): Codec<unknown> {
  const codec = exported[name];
  expect(codec, `the codec ${name}`).toHaveProperty('read');
  return codec as Codec<unknown>; // checked by the line above
}

function fieldsOf(name: string): Fields {
  const codec = codecOf(name);
  expect(codec, `the structure ${name}`).toHaveProperty('fields');
  return (codec as StructCodec<Fields>).fields; // checked by the line above
}

function isAccepted(codec: Codec<unknown>, bytes: Uint8Array): boolean {
  try {
    decode(codec, bytes);
    return true;
  } catch (error) {
    if (error instanceof WireError) return false;
    throw error;
  }
}

/** Where the constants of a table are; the prefix is left out of their names. */
const homes: Readonly<Record<string, readonly (readonly [prefix: string, home: Readonly<Record<string, number>>])[]>> =
  {
    TPM_ALG_ID: [['TPM_ALG_', tpm.TPM_ALG]],
    TPM_ECC_CURVE: [['TPM_ECC_', tpm.TPM_ECC_CURVE]],
    TPM_SPEC: [['TPM_SPEC_', tpm.TPM_SPEC]],
    TPM_GENERATED: [['TPM_GENERATED_', { VALUE: tpm.TPM_GENERATED_VALUE }]],
    TPM_CC: [
      ['TPM_CC_', tpm.TPM_CC],
      ['', tpm.TPM_CC],
    ],
    TPM_RC: [
      ['TPM_RC_', tpm.TPM_RC],
      ['TPM_RC_', tpm.TPM_RC_PART],
      ['', tpm.TPM_RC_PART],
    ],
    TPM_CLOCK_ADJUST: [['TPM_CLOCK_', tpm.TPM_CLOCK_ADJUST]],
    TPM_EO: [['TPM_EO_', tpm.TPM_EO]],
    TPM_ST: [['TPM_ST_', tpm.TPM_ST]],
    TPM_SU: [['TPM_SU_', tpm.TPM_SU]],
    TPM_SE: [['TPM_SE_', tpm.TPM_SE]],
    TPM_CAP: [['TPM_CAP_', tpm.TPM_CAP]],
    TPM_PT: [
      ['TPM_PT_', tpm.TPM_PT],
      ['', tpm.TPM_PT],
    ],
    TPM_PT_PCR: [['TPM_PT_PCR_', tpm.TPM_PT_PCR]],
    TPM_PS: [['TPM_PS_', tpm.TPM_PS]],
    TPM_HT: [['TPM_HT_', tpm.TPM_HT]],
    TPM_RH: [
      ['TPM_RH_', tpm.TPM_RH],
      ['TPM_RS_', tpm.TPM_RS],
    ],
    TPM_HC: [['', tpm.TPM_HC]],
    TPM_NT: [['TPM_NT_', tpm.TPM_NT]],
    TPM_AT: [['TPM_AT_', tpm.TPM_AT]],
    TPM_AE: [['TPM_AE_', tpm.TPM_AE]],
  };

function ourConstant(type: string, name: string): { home: object; key: string; value: number } | undefined {
  for (const [prefix, home] of homes[type] ?? []) {
    if (!name.startsWith(prefix)) continue;
    const key = name.slice(prefix.length);
    const value = home[key];
    if (value !== undefined) return { home, key, value };
  }
  return undefined;
}

describe('constants', () => {
  it.each(tables.constants)('has all of $type with their values in the order of table $table', ({ type, members }) => {
    const found = members.map(([name]) => ourConstant(type, name));
    expect(found.map((one, i) => (one === undefined ? members[i]?.[0] : undefined)).filter(Boolean)).toEqual([]);
    members.forEach(([name, value], i) => {
      if (value !== null) expect(found[i]?.value, name).toBe(value);
    });
    for (const [, home] of homes[type] ?? []) {
      const inOrder = found.flatMap((one) => (one?.home === home ? [one.key] : []));
      // JavaScript lists keys that are integers first, and a constant of another table may stand between.
      const theirs = inOrder.filter((key) => !/^\d+$/.test(key));
      expect(Object.keys(home).filter((key) => theirs.includes(key))).toEqual(theirs);
    }
  });

  it('has no constant that no table has', () => {
    for (const [type, places] of Object.entries(homes)) {
      const all = tables.constants.filter((table) => table.type === type).flatMap(({ members }) => members);
      const known = new Set(all.flatMap(([name]) => places.map(([prefix]) => name.replace(prefix, ''))));
      for (const [, home] of places) {
        expect(
          Object.keys(home).filter((key) => !known.has(key)),
          type,
        ).toEqual([]);
      }
    }
  });
});

describe('bit fields', () => {
  it.each(tables.bits)('has all bits of $type in the order of table $table', ({ type, fields }) => {
    const bits = exported[type] as Readonly<Record<string, number>>;
    const prefix = { TPMA_NV: 'TPMA_NV_', TPMA_LOCALITY: 'TPM_' }[type] ?? '';
    const expected = fields.map(([name, low, high]) => {
      let mask = 0n;
      for (let bit = low; bit <= high; bit++) mask |= 1n << BigInt(bit);
      return [name.startsWith(prefix) ? name.slice(prefix.length) : name, Number(mask)];
    });
    expect(Object.entries(bits)).toEqual(expected);
  });

  it.each(tables.bits.filter(({ type }) => type.startsWith('TPMA_')))(
    'refuses every reserved bit of $type',
    ({ type, base, fields }) => {
      const width = base === 'UINT8' ? 8 : 32;
      const codec = codecOf(exportName(type));
      for (let bit = 0; bit < width; bit++) {
        const bytes = width === 8 ? encode(u8, 1 << bit) : encode(u32, (1 << bit) >>> 0);
        const isDefined = fields.some(([, low, high]) => bit >= low && bit <= high);
        expect(isAccepted(codec, bytes), `bit ${bit}`).toBe(isDefined);
      }
    },
  );
});

/** Lists that each implementation chooses: the assigned ones. */
const chosen: Readonly<Record<string, readonly number[]>> = {
  $RSA_KEY_SIZES_BITS: [1024, 2048, 3072, 4096],
  $ECC_CURVES: Object.values(tpm.TPM_ECC_CURVE).filter((curve) => curve !== tpm.TPM_ECC_CURVE.NONE),
};
/** Ends of ranges that each implementation chooses. */
const ends: Readonly<Record<string, number>> = {
  PCR_LAST: 31,
  HMAC_SESSION_LAST: 0x02ffffff,
  POLICY_SESSION_LAST: 0x03ffffff,
  TRANSIENT_LAST: 0x80ffffff,
};

function numberOf(name: string): number {
  if (name.startsWith('0x')) return Number(name);
  if (name === 'NO' || name === 'YES') return name === 'YES' ? 1 : 0;
  const value = ends[name] ?? constants.get(name);
  if (value === undefined || value === null) throw new Error(`${name} has no value`);
  return value;
}

function rangesOf(values: readonly string[]): (readonly [number, number])[] {
  return values.flatMap((value) => {
    const list = chosen[value];
    if (list !== undefined) return list.map((one) => [one, one] as const);
    const [first = value, last = first] = value.split(':');
    return [[numberOf(first), numberOf(last)] as const];
  });
}

/** All small numbers, and the surroundings of every number that means something. */
function candidates(base: string): number[] {
  if (base === 'BYTE') return Array.from({ length: 256 }, (_, i) => i);
  const small = Array.from({ length: 0x300 }, (_, i) => i);
  const marks = [...constants.values(), ...Object.values(ends), ...Object.values(chosen).flat()];
  const around = marks.flatMap((mark) =>
    mark === null ? [] : [mark - 1, mark, mark + 1, mark + 0x100, mark + 0xffff, mark + 0x800000],
  );
  const max = base === 'TPM_HANDLE' ? 0xffffffff : 0xffff;
  return [...new Set([...small, ...around])].filter((value) => value >= 0 && value <= max);
}

function acceptedBy(codec: Codec<unknown>, base: string): number[] {
  const raw = base === 'BYTE' ? u8 : base === 'TPM_HANDLE' ? u32 : u16;
  return candidates(base).filter((value) => isAccepted(codec, encode(raw, value)));
}

function within(ranges: readonly (readonly [number, number])[], base: string): number[] {
  return candidates(base).filter((value) => ranges.some(([first, last]) => value >= first && value <= last));
}

describe('interface types', () => {
  const closed = tables.interfaces.filter(({ expands }) => expands === undefined);

  it.each(closed)('$type accepts exactly the values of table $table', ({ type, base, values }) => {
    const always = rangesOf(values.filter((value) => !value.startsWith('+')));
    expect(acceptedBy(codecOf(exportName(type)), base)).toEqual(within(always, base));
  });

  it.each(closed.filter(({ values }) => values.some((value) => value.startsWith('+'))))(
    '$type+ also accepts its conditional value',
    ({ type, base, values }) => {
      const all = rangesOf(values.map((value) => value.replace('+', '')));
      expect(acceptedBy(codecOf(exportName(`${type}+`)), base)).toEqual(within(all, base));
    },
  );

  it('has the key sizes of every block cipher', () => {
    const ciphers = tables.interfaces.flatMap(({ expands }) => expands ?? []);
    expect(ciphers).toEqual(['TDES', 'AES', 'SM4', 'CAMELLIA']);
    const sizes = ciphers.map((cipher) => acceptedBy(codecOf(exportName(`TPMI_${cipher}_KEY_BITS`)), 'UINT16'));
    expect(sizes).toEqual([[128, 192], [128, 192, 256], [128], [128, 192, 256]]);
  });
});

const plainNames: Readonly<Record<string, string>> = { UINT8: 'u8', UINT16: 'u16', UINT32: 'u32', UINT64: 'u64' };
/** Where a TPM itself returns the conditional value, though the table does not mark it. */
const wider = new Set(['TPMS_TAGGED_POLICY.policyHash']);
/** Fields that are not what their table says, with the reason beside the structure. */
const deviations: Readonly<Record<string, string>> = {
  'TPMS_ID_OBJECT.encIdentity': 'encIdentity',
  'TPMT_TK_CREATION.tag': 'TPM_ST_CREATION',
  'TPMT_TK_VERIFIED.tag': 'TPM_ST_VERIFIED',
  'TPMT_TK_AUTH.tag': 'TPM_ST_AUTH',
  'TPMT_TK_HASHCHECK.tag': 'TPM_ST_HASHCHECK',
};

function expectedName(structure: string, field: string, type: string): string {
  const deviation = deviations[`${structure}.${field}`];
  if (deviation !== undefined) return deviation;
  if (wider.has(`${structure}.${field}`)) return `${type}+`;
  // A `+` in front says that the structure's own `+` decides: see the variant.
  return plainNames[type] ?? type.replace(/^\+/, '');
}

const aliases = new Map(tables.typedefs.map(([name, base]) => [name, base]));

describe('structures', () => {
  const named = tables.structures.filter(({ type }) => /^(TPMS|TPMT)_/.test(type) && type !== 'TPMS_EMPTY');
  const sizes = new Set(['sizeofSelect']);

  it.each(named)('$type has the fields of table $table in their order', ({ type, fields }) => {
    const ours = fieldsOf(exportName(type));
    const theirs = fields.filter(([name]) => !sizes.has(name));
    expect(Object.keys(ours)).toEqual(theirs.map(([name]) => name));
    for (const [name, fieldType, selector] of theirs) {
      const field = ours[name];
      if (field === undefined) throw new Error(`${type}.${name} is missing`);
      if (selector !== undefined) expect(field).toHaveProperty('selector', selector);
      else if (fieldType === 'BYTE') expect(field).toBe(tpm.PcrSelect);
      else expect((field as Codec<unknown>).name).toBe(expectedName(type, name, fieldType));
    }
  });

  const conditional = named.filter(({ fields }) => fields.some(([, type]) => type.startsWith('+')));

  it.each(conditional)('$type+ differs only in what may be TPM_ALG_NULL', ({ type, fields }) => {
    const ours = fieldsOf(exportName(`${type}+`));
    const strict = fieldsOf(exportName(type));
    expect(Object.keys(ours)).toEqual(Object.keys(strict));
    for (const [name, fieldType] of fields) {
      const field = ours[name] as Codec<unknown>;
      if (fieldType.startsWith('+')) expect(field.name).toBe(`${fieldType.slice(1)}+`);
      else if ('selector' in field) expect(field).toHaveProperty('selector');
      else expect(field).toBe(strict[name]);
    }
  });

  const sizedOrListed = tables.structures.filter(({ type }) => /^(TPM2B|TPML)_/.test(type));

  it.each(sizedOrListed)('$type of table $table is there under its name', ({ type }) => {
    expect(codecOf(exportName(type)).name).toBe(type);
  });

  it('covers all 106 structures', () => {
    const rest = tables.structures.map(({ type }) => type).filter((type) => !/^(TPM[ST]|TPM2B|TPML)_/.test(type));
    expect(tables.structures.length).toBe(106);
    expect(rest).toEqual(['_PRIVATE']);
    expect(Object.keys(tpm.TpmPrivate.fields)).toEqual(['integrityOuter', 'integrityInner', 'sensitive']);
    expect(tpm.TpmsEmpty.name).toBe('TPMS_EMPTY');
  });

  it.each(tables.typedefs.filter(([name]) => /^TPM(S|2B)_/.test(name)))('%s codes as %s does', (name, base) => {
    const ours = codecOf(exportName(name));
    const theirs = codecOf(exportName(base));
    if ('fields' in ours && 'fields' in theirs)
      expect(Object.keys(ours.fields as object)).toEqual(Object.keys(theirs.fields as object));
    for (let size = 0; size <= 70; size++) {
      const bytes = new Uint8Array(size);
      if (size > 2) bytes[1] = size - 2;
      expect(isAccepted(ours, bytes)).toBe(isAccepted(theirs, bytes));
    }
  });
});

describe('unions', () => {
  /** No number on the wire picks a member of these, so the structures that hold them keep bytes. */
  const unselected = ['TPMU_NAME', 'TPMU_SENSITIVE_CREATE', 'TPMU_ENCRYPTED_SECRET'];

  it.each(tables.unions.filter(({ type }) => !unselected.includes(type)))(
    '$type has the members of table $table',
    ({ type, members }) => {
      const ours = exported[exportName(type)] as Readonly<Record<number, Codec<unknown>>>;
      const theirs = members.filter(([, , selector]) => selector !== '');
      const keys = theirs.map(([, , selector]) => constants.get(selector)).sort((a, b) => Number(a) - Number(b));
      expect(Object.keys(ours).map(Number)).toEqual(keys);
      for (const [name, memberType, selector] of theirs) {
        const codec = ours[Number(constants.get(selector))];
        if (memberType === '') expect(codec?.name, name).toBe('empty');
        else if (memberType === 'BYTE') expect(codec?.name, name).toBe(type);
        else expect([memberType, aliases.get(memberType)], name).toContain(codec?.name);
      }
    },
  );

  it('leaves out only what no selector picks', () => {
    expect(tables.unions.length).toBe(17);
    expect(
      tables.unions.filter(({ type }) => exported[exportName(type)] === undefined).map(({ type }) => type),
    ).toEqual(unselected);
  });
});
