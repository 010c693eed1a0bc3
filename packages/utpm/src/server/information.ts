/** What GET_INFO and `--print-info` tell, in the JSON of swtpm (libtpms, `TPMLIB_GetInfo`), and what `--print-capabilities` tells. */
import { FIRMWARE_VERSION, MANUFACTURER, VENDOR_STRINGS } from '../version.js';

const SPECIFICATION = { family: '2.0', level: 0, revision: 159 } as const;
const RSA_KEY_SIZES = [1024, 2048, 3072] as const;

/** The parts of the text by the bits of SWTPM_INFO. */
const PARTS: readonly (readonly [bit: bigint, name: string, value: object])[] = [
  [1n, 'TPMSpecification', SPECIFICATION],
  [2n, 'TPMAttributes', attributes()],
  [4n, 'TPMFeatures', { RSAKeySizes: RSA_KEY_SIZES, CamelliaKeySizes: [] }],
];

/** The JSON text of the parts that `flags` asks for. */
export function informationText(flags: bigint): string {
  const asked = PARTS.filter(([bit]) => (flags & bit) !== 0n);
  return JSON.stringify(Object.fromEntries(asked.map(([, name, value]) => [name, value])));
}

function attributes(): object {
  const manufacturer = [...MANUFACTURER].map((letter) => letter.charCodeAt(0).toString(16).padStart(2, '0')).join('');
  return {
    manufacturer: `id:${manufacturer.toUpperCase()}`,
    version: `id:${(FIRMWARE_VERSION >> 32n).toString(16).padStart(8, '0').toUpperCase()}`,
    model: VENDOR_STRINGS.join('').replaceAll('\0', ''),
  };
}

/** The version of the program. */
export const PROGRAM_VERSION = '0.1.0';

/** What `--print-capabilities` prints. */
export const CAPABILITIES = {
  type: 'swtpm',
  features: [
    'tpm-2.0',
    'tpm-send-command-header',
    'flags-opt-startup',
    'flags-opt-disable-auto-shutdown',
    'ctrl-opt-terminate',
    'cmdarg-key-fd',
    'cmdarg-pwd-fd',
    'cmdarg-print-states',
    'cmdarg-print-info',
    'nvram-backend-dir',
    ...RSA_KEY_SIZES.map((bits) => `rsa-keysize-${bits}`),
  ],
  version: PROGRAM_VERSION,
} as const;

/** JSON with the spaces of swtpm, whose users compare text: `{ "type": "swtpm", "states": [ {"name": "permall", "size": 7} ] }`. */
export function swtpmJson(fields: Readonly<Record<string, string | readonly (string | object)[]>>): string {
  const parts = Object.entries(fields).map(([name, value]) => {
    if (typeof value === 'string') return `${JSON.stringify(name)}: ${JSON.stringify(value)}`;
    const items = value.map((item) => JSON.stringify(item).replaceAll('":', '": ').replaceAll(',"', ', "'));
    return `${JSON.stringify(name)}: ${items.length === 0 ? '[]' : `[ ${items.join(', ')} ]`}`;
  });
  return `{ ${parts.join(', ')} }`;
}
