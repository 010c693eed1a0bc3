/** `audit`: what an authority did, and whether its log is whole. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  EXIT,
  Failure,
  type Json,
  type Result,
  readInputFile,
  table,
  usage,
  writeOutputFile,
} from '@casemate/command-line';
import { readAuditFile } from '../../audit-file.js';
import { type AuditSource, parseAuditEntry, verifyAuditLog } from '../../audit-log.js';
import { toHex } from '../../bytes.js';
import { auditIdentity, auditKeyFile, storePath } from '../authority.js';
import type { CommandDefinition, Context } from '../definition.js';
import { isServed, openDatabase, serviceOrigin } from '../service.js';

const OPTIONS = {
  store: { type: 'string', short: 's', value: 'DIRECTORY', help: 'the authority; default $CASEMATE_PKI, else ./pki' },
  log: { type: 'string', value: 'DIRECTORY', help: 'the directory of the log itself, where it stands elsewhere' },
  service: { type: 'boolean', help: 'the log of the service that serves this authority, in service.db of the store' },
  database: { type: 'string', value: 'FILE|URL', help: 'the same in another SQLite file, or in PostgreSQL' },
} as const;

/** The log that the command line means: the directory's, or that of the service. */
async function withLog<T>(context: Context, use: (source: AuditSource, isService: boolean) => Promise<T>): Promise<T> {
  if (!context.has('service') && !context.has('database')) return use(readAuditFile(await logPath(context)), false);
  if (!(await isServed(context))) throw new Failure(EXIT.FAILED, 'this authority is not served');
  await using store = await openDatabase(context);
  return await use(store.audit, true);
}

async function logPath(context: Context): Promise<string> {
  const path = context.text('log') ?? join(storePath(context), 'audit');
  if ((await stat(path).catch(() => undefined)) === undefined)
    throw new Failure(EXIT.FAILED, `there is no audit log in ${path}`, '--store or --log says where it is.');
  return path;
}

const verifyLog: CommandDefinition = {
  name: 'audit verify',
  summary: 'verify that the log is whole and signed, and that it continues one that was seen before',
  details:
    'Every entry is read, the Merkle root computed anew and compared with the signed one. Keep the checkpoint with --save: a later --since tells whether history was written anew, even by somebody who has the key.',
  options: {
    ...OPTIONS,
    'public-key': {
      type: 'string',
      value: 'FILE',
      help: "the log's key as it was handed out; audit-key.pub of the store without it",
    },
    since: { type: 'string', value: 'FILE', help: 'a checkpoint that was kept' },
    save: { type: 'string', value: 'FILE', help: 'keep the checkpoint' },
  },
  examples: ['casemate-pki audit verify --public-key audit-key.pub --since last.checkpoint --save last.checkpoint'],
  run: (context) => withLog(context, (source, isService) => verify(context, source, isService)),
};

async function verify(context: Context, source: AuditSource, isService: boolean): Promise<Result> {
  const known = await auditIdentity(context.text('public-key') ?? auditKeyFile(storePath(context)));
  const identity = isService ? { ...known, origin: serviceOrigin(known.origin) } : known;
  const file = context.text('since');
  const since =
    file === undefined ? undefined : new TextDecoder().decode(await readInputFile(file, context.surroundings));
  const result = await verifyAuditLog(source, { ...identity, ...(since === undefined ? {} : { since }) });
  if (!result.ok) {
    const { code, message } = result.problem;
    return {
      json: { ok: false, problem: { code, message } },
      text: `${context.style.bad('refused')}: ${message}`,
      exit: EXIT.CHECK_FAILED,
    };
  }
  const { checkpoint, size } = result;
  const save = context.text('save');
  const text = await source.readCheckpoint();
  if (save !== undefined && text !== undefined) await writeOutputFile(save, text);
  const json = {
    ok: true,
    origin: checkpoint.origin,
    size,
    signed: checkpoint.size,
    time: checkpoint.time.toISOString(),
    root: toHex(checkpoint.root),
  };
  const unsigned = size === checkpoint.size ? '' : `, ${size - checkpoint.size} more are not signed yet`;
  return {
    json,
    text: `${context.style.good('accepted')}: ${checkpoint.size} entries of ${json.origin} are signed as of ${json.time}${unsigned}\n  root ${json.root}`,
  };
}

const showLog: CommandDefinition = {
  name: 'audit show',
  summary: 'show the entries of the log',
  options: {
    ...OPTIONS,
    event: { type: 'string', value: 'WORD', help: 'only this event: generate, issue, revoke, crl, sign, …' },
    last: { type: 'string', value: 'COUNT', help: 'only the last ones' },
  },
  async run(context) {
    const wanted = context.text('event');
    const last = Number(context.text('last') ?? Number.MAX_SAFE_INTEGER);
    if (!(last > 0)) throw usage('--last: expected a number above 0');
    const rows: {
      readonly index: number;
      readonly time: string;
      readonly event: string;
      readonly fields: { readonly [name: string]: Json };
    }[] = [];
    let index = 0;
    await withLog(context, async (source) => {
      for await (const bytes of source.read(0)) {
        const { time, event, fields } = parseAuditEntry(bytes);
        if (wanted === undefined || event === wanted) rows.push({ index, time: time.toISOString(), event, fields });
        if (rows.length > last) rows.shift();
        index += 1;
      }
    });
    const lines = rows.map(({ index: i, time, event, fields }) => [String(i), time, event, fieldsText(fields)]);
    return { json: rows, text: table(lines) };
  },
};

function fieldsText(fields: { readonly [name: string]: Json }): string {
  return Object.entries(fields)
    .map(
      ([name, value]) =>
        `${name} ${typeof value === 'string' || typeof value === 'number' ? value : Array.isArray(value) ? `(${value.length})` : JSON.stringify(value)}`,
    )
    .join(', ');
}

/** The commands about the log. */
export const AUDIT_COMMANDS: readonly CommandDefinition[] = [verifyLog, showLog];
