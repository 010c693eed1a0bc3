/** `nv …`: NV indexes (TPM 2.0 Part 1, section 37). */
import { type Json, type OptionDefinitions, type Result, readInputFile, table, usage } from '@casemate/command-line';
import { TPM_RH } from '../../constants/handles.js';
import { TPM_NT, TPMA_NV } from '../../constants/nv.js';
import {
  type NvDefineOptions,
  type NvIndex,
  type NvType,
  type NvUseOptions,
  nvDefine,
  nvExtend,
  nvIncrement,
  nvLock,
  nvRead,
  nvReadPublic,
  nvSetBits,
  nvUndefine,
  nvWrite,
  nvWritePin,
  openNv,
} from '../../nv.js';
import { readPcrs } from '../../pcr.js';
import { listHandles } from '../../persistent.js';
import { policyDigest, satisfyPolicy } from '../../policy.js';
import { constantName, flagNames, handleName } from '../../recorder/names.js';
import { hexBytes, hexNumber } from '../../recorder/spelled.js';
import { startSession } from '../../start-session.js';
import type { TpmsNvPublic } from '../../structures/nv.js';
import type { Tpm } from '../../tpm.js';
import type { CommandDefinition, Context } from '../definition.js';
import { OUTPUT_OPTIONS, OWNER_OPTIONS, PASSWORD_OPTIONS, PCR_POLICY_OPTIONS } from '../options.js';
import { parseHandle, parseHex, parseNumber } from '../values.js';
import { hierarchyAuth, proved } from './keys-in-use.js';
import { chosenPcrs } from './pcrs.js';

const ACCESS_OPTIONS: OptionDefinitions = {
  ...PASSWORD_OPTIONS,
  by: { type: 'string', value: 'WHO', help: 'who asks: index, owner or platform; default what its attributes allow' },
  pcr: { type: 'string', multiple: true, value: 'PCRS', help: 'satisfy its policy of these PCRs' },
  ...OWNER_OPTIONS,
};

const TYPES: readonly NvType[] = ['ordinary', 'counter', 'bits', 'extend', 'pin-fail', 'pin-pass'];

const ONE_INDEX = { min: 1, max: 1 } as const;

/** The commands whose first word is `nv`. */
export const NV_COMMANDS: readonly CommandDefinition[] = [
  { name: 'nv list', summary: 'list the NV indexes with size, kind and attributes', run: list },
  {
    name: 'nv define',
    usage: 'INDEX',
    summary: 'define an index',
    details:
      'INDEX is 0x01800000 up for owners. Without --attributes, the owner and whoever knows its password may read and write; with --pcr, only while the PCRs are as they are now.',
    options: {
      size: {
        type: 'string',
        short: 's',
        value: 'BYTES',
        help: 'how many bytes it holds; the other kinds have sizes of their own',
      },
      type: { type: 'string', value: 'KIND', help: `${TYPES.join(', ')}; default ordinary` },
      attributes: { type: 'string', short: 'a', value: 'NAMES', help: 'bits of TPMA_NV: "ownerread|authwrite|no_da"' },
      ...PCR_POLICY_OPTIONS,
      ...PASSWORD_OPTIONS,
      ...OWNER_OPTIONS,
    },
    examples: [
      'casemate-tpm nv define 0x01800010 --size 32 --password prompt',
      'casemate-tpm nv define 0x01800011 --type counter',
    ],
    positionals: ONE_INDEX,
    run: define,
  },
  {
    name: 'nv write',
    usage: 'INDEX [FILE | -]',
    summary: 'write bytes',
    options: { offset: { type: 'string', value: 'N', help: 'where they start; default 0' }, ...ACCESS_OPTIONS },
    examples: ['echo hello | casemate-tpm nv write 0x01800010'],
    positionals: { min: 1, max: 2 },
    run: write,
  },
  {
    name: 'nv read',
    usage: 'INDEX',
    summary: 'read bytes, or the number that a counter or bit field holds',
    options: {
      offset: { type: 'string', value: 'N', help: 'where to start; default 0' },
      size: { type: 'string', short: 's', value: 'BYTES', help: 'how many; default all' },
      ...OUTPUT_OPTIONS,
      ...ACCESS_OPTIONS,
    },
    positionals: ONE_INDEX,
    run: read,
  },
  {
    name: 'nv increment',
    usage: 'INDEX',
    summary: 'count a counter up by one',
    options: ACCESS_OPTIONS,
    positionals: ONE_INDEX,
    run: (context) => change(context, (tpm, index, use) => nvIncrement(tpm, index, use)),
  },
  {
    name: 'nv extend',
    usage: 'INDEX [FILE | -]',
    summary: 'extend an index of kind extend by data',
    options: ACCESS_OPTIONS,
    positionals: { min: 1, max: 2 },
    async run(context) {
      const data = await readInputFile(context.positionals[1] ?? '-', context.surroundings);
      return await change(context, (tpm, index, use) => nvExtend(tpm, index, data, use));
    },
  },
  {
    name: 'nv setbits',
    usage: 'INDEX HEX',
    summary: 'set bits of an index of kind bits',
    options: ACCESS_OPTIONS,
    positionals: { min: 2, max: 2 },
    async run(context) {
      const bits = parseHex(context.positionals[1] ?? '', 'HEX').reduce((all, byte) => (all << 8n) | BigInt(byte), 0n);
      if (bits > 0xffff_ffff_ffff_ffffn) throw usage('nv setbits: expected at most 64 bits');
      return await change(context, (tpm, index, use) => nvSetBits(tpm, index, bits, use));
    },
  },
  {
    name: 'nv pin',
    usage: 'INDEX LIMIT',
    summary: 'say how often the password of a PIN index may fail, or be used, and start counting at 0',
    details:
      'Of kind pin-fail, wrong passwords count and a right one starts again; of kind pin-pass, every use counts. The owner sets it: --by owner. "nv read" shows count and limit as two 32-bit numbers.',
    options: ACCESS_OPTIONS,
    examples: [
      'casemate-tpm nv define 0x01800012 --type pin-fail --password prompt',
      'casemate-tpm nv pin 0x01800012 5 --by owner',
    ],
    positionals: { min: 2, max: 2 },
    async run(context) {
      const limit = parseNumber(context.positionals[1] ?? '', 'LIMIT', { min: 0, max: 0xffffffff });
      return await change(context, (tpm, index, use) => nvWritePin(tpm, index, { count: 0, limit }, use));
    },
  },
  {
    name: 'nv lock',
    usage: 'INDEX read|write',
    summary: 'lock an index against reading or writing',
    details: 'Until the next restart of the TPM, or for ever, as its attributes say.',
    options: ACCESS_OPTIONS,
    positionals: { min: 2, max: 2 },
    async run(context) {
      const against = context.positionals[1];
      if (against !== 'read' && against !== 'write') throw usage(`nv lock: expected read or write, got "${against}"`);
      return await change(context, (tpm, index, use) => nvLock(tpm, index, against, use));
    },
  },
  {
    name: 'nv undefine',
    usage: 'INDEX',
    summary: 'delete an index',
    options: OWNER_OPTIONS,
    positionals: ONE_INDEX,
    run: undefine,
  },
];

async function list({ withTpm, style }: Context): Promise<Result> {
  const areas = await withTpm(async (tpm) => {
    const found: TpmsNvPublic[] = [];
    for (const index of await listHandles(tpm, 'nv')) found.push((await nvReadPublic(tpm, index)).public);
    return found;
  });
  const rows = areas.map((area) => {
    const label = handleName(area.nvIndex).split(', ')[1] ?? '';
    return [
      hexNumber(area.nvIndex, 8),
      kindOf(area),
      `${area.dataSize} bytes`,
      attributesOf(area).join('|'),
      style.faint(label),
    ];
  });
  return { json: areas.map(areaJson), text: rows.length === 0 ? 'no NV index is defined' : table(rows) };
}

async function define(context: Context): Promise<Result> {
  const nvIndex = indexOf(context);
  const type = typeOf(context);
  const authValue = await context.secret('password');
  const size = sizeOf(context, type);
  const attributes = attributesFrom(context);
  const pcrs = chosenPcrs(context);
  const owner = await hierarchyAuth(context, 'owner-password');
  const area = await context.withTpm(async (tpm) => {
    const policy = pcrs && policyDigest([{ type: 'pcr', values: await readPcrs(tpm, pcrs) }]);
    const chosen = attributes ?? (pcrs ? UNDER_POLICY : undefined);
    const options: NvDefineOptions = { index: nvIndex, type, ...(size !== undefined && { size }), ...owner };
    const optional = {
      ...(policy && { policy }),
      ...(chosen !== undefined && { attributes: chosen }),
      ...(authValue && { authValue }),
    };
    return (await nvDefine(tpm, { ...options, ...optional })).public;
  });
  return { json: areaJson(area), text: `${hexNumber(area.nvIndex, 8)}: ${kindOf(area)}, ${area.dataSize} bytes` };
}

async function write(context: Context): Promise<Result> {
  const data = await readInputFile(context.positionals[1] ?? '-', context.surroundings);
  const offset = optionalNumber(context, 'offset') ?? 0;
  return await change(context, (tpm, index, use) => nvWrite(tpm, index, data, { ...use, offset }));
}

async function read(context: Context): Promise<Result> {
  const offset = optionalNumber(context, 'offset') ?? 0;
  const size = optionalNumber(context, 'size');
  const { data, area } = await access(context, async (tpm, index, use) => ({
    area: index.public,
    data: await nvRead(tpm, index, { ...use, offset, ...(size !== undefined && { size }) }),
  }));
  const isNumber = ['counter', 'bits'].includes(kindOf(area)) && data.length === 8;
  const value = isNumber ? new DataView(data.buffer, data.byteOffset).getBigUint64(0) : undefined;
  const json = { data: hexBytes(data), value: value === undefined ? null : value.toString() };
  const wantsBytes = value === undefined || context.text('format') !== undefined || context.text('out') !== undefined;
  return wantsBytes ? { json, bytes: data } : { json, text: numberText(kindOf(area), value) };
}

function numberText(kind: string, value: bigint): string {
  return kind === 'bits' ? `0x${value.toString(16).padStart(16, '0')}` : value.toString();
}

async function undefine(context: Context): Promise<Result> {
  const owner = await hierarchyAuth(context, 'owner-password');
  const nvIndex = indexOf(context);
  await context.withTpm(async (tpm) => nvUndefine(tpm, await openNv(tpm, nvIndex), owner));
  return { json: { index: hexNumber(nvIndex, 8) } };
}

async function change(
  context: Context,
  work: (tpm: Tpm, index: NvIndex, use: NvUseOptions) => Promise<void>,
): Promise<Result> {
  const area = await access(context, async (tpm, index, use) => {
    await work(tpm, index, use);
    return (await nvReadPublic(tpm, index.handle)).public;
  });
  return { json: areaJson(area) };
}

/** Opens an index, authorises as the options say, and works with it. */
async function access<T>(
  context: Context,
  work: (tpm: Tpm, index: NvIndex, use: NvUseOptions) => Promise<T>,
): Promise<T> {
  const nvIndex = indexOf(context);
  const by = context.text('by');
  const pcrs = chosenPcrs(context);
  const value = await context.secret('password');
  const owner = await context.secret('owner-password');
  return await context.withTpm(async (tpm) => {
    const index = await openNv(tpm, nvIndex, value === undefined ? {} : { authValue: value });
    if (pcrs) {
      const policy = [{ type: 'pcr', values: await readPcrs(tpm, pcrs) }] as const;
      await using session = await startSession(tpm, { type: 'policy' });
      await satisfyPolicy(tpm, session, policy);
      return await work(tpm, index.withAuth(session), {});
    }
    const hierarchy = hierarchyOf(by ?? (owner === undefined ? undefined : 'owner'));
    if (hierarchy !== undefined) {
      return await proved(tpm, { handle: hierarchy }, owner, (entity) => work(tpm, index, { by: entity }));
    }
    if (value === undefined) return await work(tpm, index, by === 'index' ? { by: index } : {});
    await using session = await startSession(tpm, { type: 'hmac' });
    return await work(tpm, index.withAuth(session), {});
  });
}

function hierarchyOf(by: string | undefined): number | undefined {
  if (by === undefined || by === 'index') return undefined;
  if (by === 'owner') return TPM_RH.OWNER;
  if (by === 'platform') return TPM_RH.PLATFORM;
  throw usage(`--by: expected index, owner or platform, got "${by}"`);
}

function indexOf({ positionals }: Context): number {
  const handle = parseHandle(positionals[0] ?? '', 'INDEX');
  if (handle >>> 24 === 1) return handle;
  throw usage(`INDEX: expected 0x01000000 to 0x01ffffff, got ${hexNumber(handle, 8)}`);
}

function typeOf({ text }: Context): NvType {
  const given = text('type') ?? 'ordinary';
  const type = TYPES.find((known) => known === given);
  if (type) return type;
  throw usage(`--type: expected one of ${TYPES.join(', ')}, got "${given}"`);
}

function sizeOf(context: Context, type: NvType): number | undefined {
  const size = optionalNumber(context, 'size');
  if (type === 'ordinary' && size === undefined)
    throw usage('nv define: --size is missing', 'It says how many bytes the index holds.');
  if (type !== 'ordinary' && size !== undefined)
    throw usage(`nv define: an index of kind ${type} has a size of its own`);
  return size;
}

function optionalNumber({ text }: Context, name: string): number | undefined {
  const given = text(name);
  return given === undefined ? undefined : parseNumber(given, `--${name}`, { min: 0, max: 0xffff });
}

function attributesFrom({ text }: Context): number | undefined {
  const given = text('attributes');
  if (given === undefined) return undefined;
  const names = given.split('|').filter((name) => name !== '');
  return names.reduce((bits, name) => (bits | attributeBit(name)) >>> 0, 0);
}

function attributeBit(name: string): number {
  const found = Object.entries(TPMA_NV).find(
    ([known]) => known.toLowerCase() === name.toLowerCase() && known !== 'TPM_NT',
  );
  if (found) return found[1];
  const known = Object.keys(TPMA_NV).filter((key) => key !== 'TPM_NT');
  throw usage(`--attributes: there is no "${name}"`, `There are: ${known.join(', ').toLowerCase()}.`);
}

function kindOf({ attributes }: TpmsNvPublic): string {
  const number = (attributes & TPMA_NV.TPM_NT) >>> 4;
  const found = Object.entries(TPM_NT).find(([, value]) => value === number);
  return found ? found[0].toLowerCase().replace('_', '-') : `kind ${number}`;
}

function attributesOf({ attributes }: TpmsNvPublic): readonly string[] {
  const names = flagNames('TPMA_NV', attributes) ?? [];
  return names.filter((name) => !name.startsWith('TPM_NT_')).map((name) => name.toLowerCase());
}

function areaJson(area: TpmsNvPublic): Json {
  return {
    index: hexNumber(area.nvIndex, 8),
    kind: kindOf(area),
    size: area.dataSize,
    attributes: attributesOf(area),
    nameAlg: constantName('TPM_ALG_ID', area.nameAlg) ?? '',
    policy: area.authPolicy.length === 0 ? null : hexBytes(area.authPolicy),
  };
}

/** Only the policy opens it; the owner can delete it still. */
const UNDER_POLICY = TPMA_NV.POLICYREAD | TPMA_NV.POLICYWRITE | TPMA_NV.NO_DA;
