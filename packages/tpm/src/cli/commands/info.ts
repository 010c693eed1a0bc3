/** `info` and `getcap`: what the TPM says of itself (TPM 2.0 Part 3, section 30.2). */
import { counted, type Json, pageWidth, type Result, table, usage } from '@casemate/command-line';
import { GetCapability } from '../../commands/capability.js';
import { ReadClock } from '../../commands/clock.js';
import { TPM_CAP, TPM_PT } from '../../constants/capabilities.js';
import { TPM_HC } from '../../constants/handles.js';
import { pcrBanks } from '../../pcr.js';
import { listHandles } from '../../persistent.js';
import { constantName, flagNames } from '../../recorder/names.js';
import { lettersOf, spell } from '../../recorder/spell.js';
import { spelledJson } from '../../recorder/spelled.js';
import { spelledText } from '../../recorder/text.js';
import { TpmError } from '../../response-code.js';
import { TpmsCapabilityData } from '../../structures/capabilities.js';
import type { Tpm } from '../../tpm.js';
import type { CommandDefinition, Context } from '../definition.js';

/** Who made it and what state it is in. */
export const infoCommand: CommandDefinition = {
  name: 'info',
  summary: 'show who made the TPM, what it can do and what state it is in',
  run: info,
};

/** One group of capabilities. */
export const getcapCommand: CommandDefinition = {
  name: 'getcap',
  usage: 'GROUP',
  summary: 'show a group of capabilities: everything that TPM2_GetCapability tells',
  details:
    'GROUP is algs, handles-persistent, handles-transient, handles-nv, handles-loaded-session, handles-saved-session, commands, pp-commands, audit-commands, pcrs, properties-fixed, properties-variable, pcr-properties, ecc-curves or auth-policies.',
  positionals: { min: 1, max: 1 },
  run: getcap,
};

type Capability<C extends number> = Extract<TpmsCapabilityData, { capability: C }>['data'];

async function info({ withTpm, style, surroundings }: Context): Promise<Result> {
  const facts = await withTpm(readFacts);
  const rows = Object.entries(factsText(facts)).map(([name, value]) => [style.bold(name), value]);
  return { json: facts.json, text: table(rows, { width: pageWidth(surroundings) }) };
}

interface Facts {
  readonly properties: ReadonlyMap<number, number>;
  readonly json: { readonly [name: string]: Json };
}

async function readFacts(tpm: Tpm): Promise<Facts> {
  const properties = await readProperties(tpm);
  const banks = await pcrBanks(tpm);
  const { currentTime } = await tpm.execute(ReadClock, {});
  const curves = await readGroup(tpm, TPM_CAP.ECC_CURVES, 0).catch(noneWhereRefused);
  const algorithms = await readGroup(tpm, TPM_CAP.ALGS, 0);
  const persistent = await listHandles(tpm, 'persistent');
  const indexes = await listHandles(tpm, 'nv');
  const of = (property: number): number => properties.get(property) ?? 0;
  const { clockInfo } = currentTime;
  const json = {
    manufacturer: lettersOf(of(TPM_PT.MANUFACTURER)),
    vendor: vendorOf(properties),
    firmware: firmwareOf(of(TPM_PT.FIRMWARE_VERSION_1), of(TPM_PT.FIRMWARE_VERSION_2)),
    specification: {
      family: lettersOf(of(TPM_PT.FAMILY_INDICATOR)),
      level: of(TPM_PT.LEVEL),
      revision: of(TPM_PT.REVISION) / 100,
    },
    pcrBanks: banks,
    algorithms: algorithms.map(({ alg }) => (constantName('TPM_ALG_ID', alg) ?? '').replace('TPM_ALG_', '')),
    curves: curves.map((curve) => (constantName('TPM_ECC_CURVE', curve) ?? '').replace('TPM_ECC_', '')),
    commands: of(TPM_PT.TOTAL_COMMANDS),
    slots: {
      transient: of(TPM_PT.HR_TRANSIENT_AVAIL),
      sessions: of(TPM_PT.HR_LOADED_AVAIL),
      persistent: of(TPM_PT.HR_PERSISTENT_AVAIL),
    },
    persistent: persistent.length,
    nvIndexes: indexes.length,
    hierarchies: flagNames('TPMA_STARTUP_CLEAR', of(TPM_PT.STARTUP_CLEAR)) ?? [],
    permanent: flagNames('TPMA_PERMANENT', of(TPM_PT.PERMANENT)) ?? [],
    lockout: {
      active: (flagNames('TPMA_PERMANENT', of(TPM_PT.PERMANENT)) ?? []).includes('inLockout'),
      failures: of(TPM_PT.LOCKOUT_COUNTER),
      limit: of(TPM_PT.MAX_AUTH_FAIL),
      secondsToForgetOne: of(TPM_PT.LOCKOUT_INTERVAL),
      secondsToRecover: of(TPM_PT.LOCKOUT_RECOVERY),
    },
    clock: {
      milliseconds: clockInfo.clock.toString(),
      resets: clockInfo.resetCount,
      restarts: clockInfo.restartCount,
      safe: clockInfo.safe,
    },
  };
  return { properties, json };
}

function factsText({ json, properties }: Facts): Readonly<Record<string, string>> {
  const of = (property: number): number => properties.get(property) ?? 0;
  const list = (value: Json | undefined): string => (Array.isArray(value) ? value.join(' ') : String(value));
  const failures = of(TPM_PT.LOCKOUT_COUNTER);
  const isLocked = (flagNames('TPMA_PERMANENT', of(TPM_PT.PERMANENT)) ?? []).includes('inLockout');
  return {
    manufacturer: [json.manufacturer, json.vendor].filter((word) => word !== '').join(', '),
    firmware: String(json.firmware),
    specification: `TPM ${lettersOf(of(TPM_PT.FAMILY_INDICATOR))}, level ${of(TPM_PT.LEVEL)}, revision ${(of(TPM_PT.REVISION) / 100).toFixed(2)}`,
    'PCR banks': list(json.pcrBanks),
    algorithms: list(json.algorithms),
    curves: list(json.curves),
    commands: String(json.commands),
    'free slots': `${of(TPM_PT.HR_TRANSIENT_AVAIL)} transient, ${of(TPM_PT.HR_LOADED_AVAIL)} sessions, at least ${of(TPM_PT.HR_PERSISTENT_AVAIL)} persistent`,
    'in use': `${counted(Number(json.persistent), 'persistent object')}, ${counted(Number(json.nvIndexes), 'NV index', 'NV indexes')}`,
    hierarchies: hierarchiesText(list(json.hierarchies)),
    permanent: list(json.permanent) || 'nothing set',
    lockout: `${isLocked ? 'LOCKED, ' : ''}${failures} of ${of(TPM_PT.MAX_AUTH_FAIL)} failures; one is forgotten every ${of(TPM_PT.LOCKOUT_INTERVAL)} s`,
    clock: clockText(json.clock),
  };
}

function hierarchiesText(flags: string): string {
  const isEnabled = (flag: string): boolean => flags.split(' ').includes(flag);
  const all = [
    ['platform', 'phEnable'],
    ['owner', 'shEnable'],
    ['endorsement', 'ehEnable'],
  ] as const;
  return all.map(([name, flag]) => `${name} ${isEnabled(flag) ? 'on' : 'off'}`).join(', ');
}

function clockText(clock: Json | undefined): string {
  const { milliseconds, resets, restarts } = clock as { milliseconds: string; resets: number; restarts: number }; // made above
  const seconds = Math.floor(Number(milliseconds) / 1000);
  const days = Math.floor(seconds / 86400);
  const time = new Date((seconds % 86400) * 1000).toISOString().slice(11, 19);
  return `${counted(days, 'day')} ${time} powered, ${counted(resets, 'reset')}, ${counted(restarts, 'restart')}`;
}

function vendorOf(properties: ReadonlyMap<number, number>): string {
  const parts = [TPM_PT.VENDOR_STRING_1, TPM_PT.VENDOR_STRING_2, TPM_PT.VENDOR_STRING_3, TPM_PT.VENDOR_STRING_4];
  const bytes = parts.flatMap((part) => {
    const value = properties.get(part) ?? 0;
    return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
  });
  return String.fromCharCode(...bytes.filter((byte) => byte >= 0x20 && byte < 0x7f))
    .replace(/\s+/g, ' ')
    .trim();
}

function firmwareOf(first: number, second: number): string {
  return [first >>> 16, first & 0xffff, second >>> 16, second & 0xffff].join('.');
}

async function readProperties(tpm: Tpm): Promise<ReadonlyMap<number, number>> {
  const groups = [TPM_PT.PT_FIXED, TPM_PT.PT_VAR];
  const lists = [];
  for (const first of groups) lists.push(await readGroup(tpm, TPM_CAP.TPM_PROPERTIES, first));
  return new Map(lists.flat().map(({ property, value }) => [property, value]));
}

/** A whole group, in as many commands as it takes. */
async function readGroup<C extends keyof typeof NEXT>(tpm: Tpm, capability: C, first: number): Promise<Capability<C>> {
  const items: unknown[] = [];
  for (let property = first, more = true; more && items.length < MAX_ITEMS; ) {
    const { capabilityData, moreData } = await tpm.execute(GetCapability, { capability, property, propertyCount: 254 });
    if (capabilityData.capability !== capability) throw new TpmError('integrity', 'read capability: got another group');
    const last: unknown = capabilityData.data.at(-1);
    items.push(...capabilityData.data);
    more = moreData && last !== undefined;
    if (more) property = NEXT[capability](last);
  }
  return items as unknown as Capability<C>; // the items of this group's lists
}

/** Where the next part of a list starts, from its last item. */
const NEXT = {
  [TPM_CAP.ALGS]: (item: unknown) => numberIn(item, 'alg') + 1,
  [TPM_CAP.HANDLES]: (item: unknown) => Number(item) + 1,
  [TPM_CAP.COMMANDS]: (item: unknown) => (Number(item) & 0x2000ffff) + 1,
  [TPM_CAP.PP_COMMANDS]: (item: unknown) => Number(item) + 1,
  [TPM_CAP.AUDIT_COMMANDS]: (item: unknown) => Number(item) + 1,
  [TPM_CAP.PCRS]: () => 0,
  [TPM_CAP.TPM_PROPERTIES]: (item: unknown) => numberIn(item, 'property') + 1,
  [TPM_CAP.PCR_PROPERTIES]: (item: unknown) => numberIn(item, 'tag') + 1,
  [TPM_CAP.ECC_CURVES]: (item: unknown) => Number(item) + 1,
  [TPM_CAP.AUTH_POLICIES]: (item: unknown) => numberIn(item, 'handle') + 1,
} as const;

function numberIn(item: unknown, name: string): number {
  return typeof item === 'object' && item !== null ? Number((item as Readonly<Record<string, unknown>>)[name]) : 0;
}

async function getcap({ positionals, withTpm }: Context): Promise<Result> {
  const [name = ''] = positionals;
  const group = Object.hasOwn(GROUPS, name) ? GROUPS[name] : undefined;
  if (!group) throw usage(`getcap: there is no group "${name}"`, `There are: ${Object.keys(GROUPS).join(', ')}.`);
  const data = await withTpm((tpm) => readGroup(tpm, group.capability, group.first));
  const inRange = (data as readonly unknown[]).filter((item) => group.keep?.(item) ?? true);
  const value = { capability: group.capability, data: inRange };
  const spelled = spell(TpmsCapabilityData as Parameters<typeof spell>[0], value);
  const items = spelled.kind === 'struct' ? spelled.fields.find(([field]) => field === 'data')?.[1] : undefined;
  if (!items) return { json: [], text: '' };
  return { json: spelledJson(items) as Json, text: inRange.length === 0 ? 'nothing' : spelledText(items) };
}

interface Group {
  readonly capability: keyof typeof NEXT;
  readonly first: number;
  readonly keep?: (item: unknown) => boolean;
}

function handles(first: number): Group {
  return { capability: TPM_CAP.HANDLES, first, keep: (item) => Number(item) >>> 24 === first >>> 24 };
}

function noneWhereRefused(error: unknown): readonly number[] {
  if (error instanceof TpmError && error.code === 'response') return [];
  throw error;
}

const MAX_ITEMS = 10_000;

const GROUPS: Readonly<Record<string, Group>> = {
  algs: { capability: TPM_CAP.ALGS, first: 0 },
  'handles-persistent': handles(TPM_HC.PERSISTENT_FIRST),
  'handles-transient': handles(TPM_HC.TRANSIENT_FIRST),
  'handles-nv': handles(TPM_HC.NV_INDEX_FIRST),
  'handles-loaded-session': handles(TPM_HC.LOADED_SESSION_FIRST),
  'handles-saved-session': handles(TPM_HC.ACTIVE_SESSION_FIRST),
  commands: { capability: TPM_CAP.COMMANDS, first: 0x11f },
  'pp-commands': { capability: TPM_CAP.PP_COMMANDS, first: 0x11f },
  'audit-commands': { capability: TPM_CAP.AUDIT_COMMANDS, first: 0x11f },
  pcrs: { capability: TPM_CAP.PCRS, first: 0 },
  'properties-fixed': {
    capability: TPM_CAP.TPM_PROPERTIES,
    first: TPM_PT.PT_FIXED,
    keep: (item) => numberIn(item, 'property') < TPM_PT.PT_VAR,
  },
  'properties-variable': { capability: TPM_CAP.TPM_PROPERTIES, first: TPM_PT.PT_VAR },
  'pcr-properties': { capability: TPM_CAP.PCR_PROPERTIES, first: 0 },
  'ecc-curves': { capability: TPM_CAP.ECC_CURVES, first: 0 },
  'auth-policies': { capability: TPM_CAP.AUTH_POLICIES, first: 0x40000000 },
};
