/** `handles` and `flush`: what is in the TPM, and freeing its slots (TPM 2.0 Part 3, chapters 28 and 30). */
import { type Result, table, usage } from '@casemate/command-line';
import { FlushContext } from '../../commands/context.js';
import { openObject } from '../../object.js';
import { type HandleKind, listHandles } from '../../persistent.js';
import { flagNames, handleName } from '../../recorder/names.js';
import { hexNumber } from '../../recorder/spelled.js';
import type { TpmtPublic } from '../../structures/public.js';
import type { Tpm } from '../../tpm.js';
import type { CommandDefinition, Context } from '../definition.js';
import { parseHandle } from '../values.js';
import { publicJson } from './key.js';

/** Lists objects and sessions. */
export const handlesCommand: CommandDefinition = {
  name: 'handles',
  summary: 'list the objects and sessions that are in the TPM',
  run: list,
};

/** Frees slots. */
export const flushCommand: CommandDefinition = {
  name: 'flush',
  usage: '[HANDLE …]',
  summary: 'free transient objects and sessions',
  details:
    'Through /dev/tpmrm0 there is nothing to free: the resource manager gives everyone objects and sessions of their own.',
  options: {
    transient: { type: 'boolean', help: 'all transient objects' },
    sessions: { type: 'boolean', help: 'all sessions, loaded and saved' },
  },
  positionals: { min: 0, max: 64 },
  run: flush,
};

async function list({ withTpm, style }: Context): Promise<Result> {
  const found = await withTpm(async (tpm) => {
    const objects: { readonly handle: number; readonly area: TpmtPublic | undefined }[] = [];
    for (const kind of ['persistent', 'transient'] as const) {
      for (const handle of await listHandles(tpm, kind))
        objects.push({ handle, area: (await openObject(tpm, handle)).public });
    }
    for (const handle of await sessionHandles(tpm)) objects.push({ handle, area: undefined });
    return objects;
  });
  const rows = found.map(({ handle, area }) => [
    hexNumber(handle, 8),
    handleName(handle),
    area ? describe(area) : '',
    style.faint(attributes(area)),
  ]);
  return {
    json: found.map(({ handle, area }) => ({
      handle: hexNumber(handle, 8),
      kind: handleName(handle).split(', ')[0] ?? '',
      ...(area && publicJson(area)),
    })),
    text: rows.length === 0 ? 'there are no objects and sessions in the TPM' : table(rows),
  };
}

function describe(area: TpmtPublic): string {
  const { type } = publicJson(area);
  const name = String(type).replace('TPM_ALG_', '');
  if ('keyBits' in area.parameters) return `${name} ${String(area.parameters.keyBits)}`;
  return 'curveID' in area.parameters ? `${name} ${CURVES[area.parameters.curveID] ?? ''}`.trim() : name;
}

function attributes(area: TpmtPublic | undefined): string {
  return area ? (flagNames('TPMA_OBJECT', area.objectAttributes) ?? []).join('|') : '';
}

async function flush({ positionals, has, withTpm }: Context): Promise<Result> {
  const named = positionals.map((text) => parseHandle(text, 'HANDLE'));
  if (named.length === 0 && !has('transient') && !has('sessions')) {
    throw usage('flush: nothing is named', 'Give handles, --transient or --sessions.');
  }
  const flushed = await withTpm(async (tpm) => {
    const transient = has('transient') ? await listHandles(tpm, 'transient') : [];
    const sessions = has('sessions') ? await sessionHandles(tpm) : [];
    const all = [...new Set([...named, ...transient, ...sessions])];
    for (const handle of all) await tpm.execute(FlushContext, { flushHandle: handle });
    return all;
  });
  const texts = flushed.map((handle) => hexNumber(handle, 8));
  return { json: { flushed: texts }, text: texts.length === 0 ? 'there was nothing to free' : texts.join('\n') };
}

/** Loaded and saved sessions; saved ones are listed as policy sessions whatever they are, and flushed by the same number. */
async function sessionHandles(tpm: Tpm): Promise<readonly number[]> {
  const kinds: readonly HandleKind[] = ['loaded-session', 'saved-session'];
  const lists: number[] = [];
  for (const kind of kinds) lists.push(...(await listHandles(tpm, kind)));
  return lists;
}

const CURVES: Readonly<Record<number, string>> = {
  1: 'P-192',
  2: 'P-224',
  3: 'P-256',
  4: 'P-384',
  5: 'P-521',
  16: 'BN-256',
  17: 'BN-638',
  32: 'SM2',
};
