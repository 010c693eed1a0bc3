/** Names of numbers: constants, attributes and handles (TPM 2.0 Part 2, clauses 6 to 8 and 13; TCG Registry of Reserved Handles). */
import { commandByCode } from '../commands/table.js';
import { TPM_ALG, TPM_ECC_CURVE } from '../constants/algorithms.js';
import { TPM_AE, TPM_AT } from '../constants/attached-component.js';
import {
  TPMA_ACT,
  TPMA_ALGORITHM,
  TPMA_CC,
  TPMA_LOCALITY,
  TPMA_MEMORY,
  TPMA_MODES,
  TPMA_OBJECT,
  TPMA_PERMANENT,
  TPMA_SESSION,
  TPMA_STARTUP_CLEAR,
  TPMA_X509_KEY_USAGE,
} from '../constants/attributes.js';
import { TPM_CAP, TPM_PS, TPM_PT, TPM_PT_PCR } from '../constants/capabilities.js';
import { TPM_CC } from '../constants/commands.js';
import { TPM_HT, TPM_RH, TPM_RS } from '../constants/handles.js';
import { TPM_NT, TPMA_NV } from '../constants/nv.js';
import { TPM_CLOCK_ADJUST, TPM_EO, TPM_SE, TPM_ST, TPM_SU } from '../constants/sessions.js';
import { parseResponseCode } from '../response-code.js';
import { hexNumber } from './spelled.js';

type Table = Readonly<Record<string, number>>;

/** The name of `value` in the constant table of the type, such as `TPM_ALG_SHA256`; `undefined` for types without a table. */
export function constantName(type: string, value: number): string | undefined {
  if (type === 'TPM_RC') return parseResponseCode(value).name;
  const found = CONSTANTS.find(([pattern]) => pattern.test(type));
  if (!found) return undefined;
  const [, prefix, table] = found;
  const name = nameIn(table, value);
  return name === undefined ? hexNumber(value) : `${prefix}${name}`;
}

/** The names of the bits that are set, fields of several bits as `name=value`; `undefined` for types that are no attributes. */
export function flagNames(type: string, value: number): readonly string[] | undefined {
  const table = FLAGS[type];
  if (!table) return undefined;
  const names = Object.entries(table).flatMap(([name, mask]) => flagName(type, name, mask, value));
  const known = Object.values(table).reduce((all, mask) => all | mask, 0);
  const unknown = (value & ~known) >>> 0;
  return unknown === 0 ? names : [...names, `reserved ${hexNumber(unknown)}`];
}

/** Whether a field of this type is a handle. */
export function isHandleType(type: string): boolean {
  return type === 'TPM_HANDLE' || type === 'TPM_NV_INDEX' || /^TPMI_(DH|RH|SH)_/.test(type);
}

/** What a handle stands for: its kind, and what the specifications and conventions keep it for. */
export function handleName(handle: number): string {
  const permanent = nameIn(TPM_RH, handle, PERMANENT_ALIASES);
  if (handle === TPM_RS.PW) return 'TPM_RS_PW';
  if (permanent !== undefined) return `TPM_RH_${permanent}`;
  const type = handle >>> 24;
  if (type === TPM_HT.PCR) return `PCR ${handle}`;
  const kind = KINDS[type] ?? 'unknown kind';
  const kept = RESERVED[handle];
  return kept === undefined ? kind : `${kind}, ${kept}`;
}

function flagName(type: string, name: string, mask: number, value: number): readonly string[] {
  const bits = (value & mask) >>> 0;
  if (bits === 0) return [];
  const shift = 31 - Math.clz32(mask & -mask);
  if (mask >>> shift === 1) return [name];
  const number = bits >>> shift;
  if (type === 'TPMA_NV') return [`TPM_NT_${nameIn(TPM_NT, number) ?? hexNumber(number)}`];
  if (type === 'TPMA_CC' && name === 'commandIndex') {
    // Vendors' commands have an index of their own.
    const code = ((value & TPMA_CC.V) >>> 0) + number;
    return [commandByCode.get(code)?.name ?? hexNumber(code)];
  }
  return [`${name}=${number}`];
}

/** The last name that a table has for a value: where two share one, the earlier names a group. */
function nameIn(table: Table, value: number, aliases?: ReadonlySet<string>): string | undefined {
  let indexes = INDEXES.get(table);
  if (!indexes) {
    const names = Object.entries(table).filter(([name]) => !aliases?.has(name));
    indexes = new Map(names.map(([name, number]) => [number, name]));
    INDEXES.set(table, indexes);
  }
  return indexes.get(value);
}

const INDEXES = new Map<Table, ReadonlyMap<number, string>>();
const PERMANENT_ALIASES: ReadonlySet<string> = new Set(['FIRST', 'LAST']);

const CONSTANTS: readonly (readonly [pattern: RegExp, prefix: string, table: Table])[] = [
  [/^TPM_ALG_ID$|^TPMI_ALG_|^TPMI_ECC_KEY_EXCHANGE/, 'TPM_ALG_', TPM_ALG],
  [/^TPMI?_ECC_CURVE/, 'TPM_ECC_', TPM_ECC_CURVE],
  [/^TPM_CC$/, 'TPM_CC_', TPM_CC],
  [/^TPM_CAP$/, 'TPM_CAP_', TPM_CAP],
  [/^TPM_PT$/, 'TPM_PT_', TPM_PT],
  [/^TPM_PT_PCR$/, 'TPM_PT_PCR_', TPM_PT_PCR],
  [/^TPM_PS$/, 'TPM_PS_', TPM_PS],
  [/^TPM_ST(_|$)|^TPMI_ST_/, 'TPM_ST_', TPM_ST],
  [/^TPM_SE$/, 'TPM_SE_', TPM_SE],
  [/^TPM_SU$/, 'TPM_SU_', TPM_SU],
  [/^TPM_EO$/, 'TPM_EO_', TPM_EO],
  [/^TPM_CLOCK_ADJUST$/, 'TPM_CLOCK_', TPM_CLOCK_ADJUST],
  [/^TPM_AT$/, 'TPM_AT_', TPM_AT],
  [/^TPM_AE$/, 'TPM_AE_', TPM_AE],
];

const FLAGS: Readonly<Record<string, Table>> = {
  TPMA_ACT,
  TPMA_ALGORITHM,
  TPMA_CC,
  TPMA_LOCALITY,
  TPMA_MEMORY,
  TPMA_MODES,
  TPMA_NV,
  TPMA_OBJECT,
  TPMA_PERMANENT,
  TPMA_SESSION,
  TPMA_STARTUP_CLEAR,
  TPMA_X509_KEY_USAGE,
};

const KINDS: Readonly<Record<number, string>> = {
  [TPM_HT.NV_INDEX]: 'NV index',
  [TPM_HT.HMAC_SESSION]: 'HMAC session',
  [TPM_HT.POLICY_SESSION]: 'policy session',
  [TPM_HT.PERMANENT]: 'permanent',
  [TPM_HT.TRANSIENT]: 'transient',
  [TPM_HT.PERSISTENT]: 'persistent',
  [TPM_HT.AC]: 'attached component',
};

const RESERVED: Readonly<Record<number, string>> = {
  2164260865: 'storage root key',
  2164326401: 'RSA 2048 endorsement key',
  2164326422: 'ECC P-384 endorsement key',
  29360130: 'RSA 2048 EK certificate',
  29360131: 'RSA 2048 EK nonce',
  29360132: 'RSA 2048 EK template',
  29360138: 'ECC P-256 EK certificate',
  29360139: 'ECC P-256 EK nonce',
  29360140: 'ECC P-256 EK template',
  29360146: 'RSA 2048 EK certificate (high range)',
  29360148: 'ECC P-256 EK certificate (high range)',
  29360150: 'ECC P-384 EK certificate (high range)',
  29360152: 'ECC P-521 EK certificate (high range)',
  29360156: 'RSA 3072 EK certificate (high range)',
  29360158: 'RSA 4096 EK certificate (high range)',
};
