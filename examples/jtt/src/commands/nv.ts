/** NV storage. */
import { readFile, writeFile } from 'node:fs/promises';
import {
  type Binding12,
  nvDefine12,
  nvLock12,
  nvRead12,
  nvRelease12,
  nvWrite12,
  readNvIndexes,
  readNvPublic,
  selectedPcrs12,
  TPM_NV_PER,
  type TpmPcrInfoShort,
} from '@casemate/tpm/tpm12';
import {
  type Given,
  hex,
  may,
  need,
  OPTIONS,
  ownerSecret,
  type Subcommand,
  secretOf,
  toBytes,
  toNumber,
  toNumbers,
  UsageError,
} from '../command.js';

export const defineSpace: Subcommand = {
  help: 'defines an NV index',
  options: {
    index: OPTIONS.index,
    size: { type: 'string', help: 'its size in bytes' },
    owner: OPTIONS.owner,
    auth: OPTIONS.auth,
    pcrs: { ...OPTIONS.pcrs, help: 'PCRs on whose present values reading depends, as in 11,12' },
    'write-pcrs': { type: 'boolean', short: 'w', help: 'writing depends on the PCRs of -p too' },
    permission: { type: 'string', help: 'TPM_NV_PER bits, as a number or as in AUTHREAD|AUTHWRITE (default 0)' },
    readlocality: { type: 'string', help: 'localities from which it can be read, as in 2 (default: all)' },
    writelocality: { type: 'string', help: 'localities from which it can be written (default: all)' },
  },
  async run({ tpm, given, print }) {
    const index = toNumber(need(given, 'index'), 'index');
    const pcrs = numbersOf(given, 'pcrs') ?? [];
    if (given['write-pcrs'] === true && pcrs.length === 0) throw new UsageError('-w needs -p');
    if ((await readNvIndexes(tpm)).includes(index)) throw new UsageError(`index ${show(index)} is already defined`);
    const read: Binding12 = { pcrs, localities: numbersOf(given, 'readlocality') };
    const write = { pcrs: given['write-pcrs'] === true ? pcrs : [], localities: numbersOf(given, 'writelocality') };
    for (const pcr of pcrs) print(`defining NV space to depend on pcr: ${pcr}`);
    const secret = secretOf(given, 'auth');
    await nvDefine12(tpm, {
      index,
      size: toNumber(need(given, 'size'), 'size'),
      permission: permissionOf(may(given, 'permission') ?? '0'),
      read,
      write,
      ...(secret === undefined ? {} : { secret }),
      owner: ownerSecret(given),
    });
    print(`defined ${show(index)}`);
  },
};

export const releaseSpace: Subcommand = {
  help: 'removes an NV index and what is in it',
  options: { index: OPTIONS.index, owner: OPTIONS.owner },
  async run({ tpm, given, print }) {
    const index = toNumber(need(given, 'index'), 'index');
    await nvRelease12(tpm, index, { owner: ownerSecret(given) });
    print(`released ${show(index)}`);
  },
};

export const read: Subcommand = {
  help: 'reads an NV index',
  options: {
    index: OPTIONS.index,
    owner: OPTIONS.owner,
    auth: OPTIONS.auth,
    offset: { type: 'string', help: 'where to start (default 0)' },
    size: { type: 'string', help: 'how many bytes (default: the rest)' },
    file: OPTIONS.file,
  },
  async run({ tpm, given, print }) {
    const size = may(given, 'size');
    const part = size === undefined ? {} : { size: toNumber(size, 'size') };
    const offset = toNumber(may(given, 'offset') ?? '0', 'offset');
    const index = toNumber(need(given, 'index'), 'index');
    const data = await nvRead12(tpm, index, { ...accessOf(given), ...part, offset });
    const file = may(given, 'file');
    if (file === undefined) print(hex(data));
    else await writeFile(file, data);
  },
};

export const write: Subcommand = {
  help: 'writes to an NV index',
  options: {
    index: OPTIONS.index,
    owner: OPTIONS.owner,
    auth: OPTIONS.auth,
    offset: { type: 'string', help: 'where to start (default 0)' },
    file: OPTIONS.file,
    data: { type: 'string', help: 'the bytes in hexadecimal, in place of a file' },
  },
  async run({ tpm, given, print }) {
    const text = may(given, 'data');
    const data = text === undefined ? new Uint8Array(await readFile(need(given, 'file'))) : toBytes(text, 'data');
    const index = toNumber(need(given, 'index'), 'index');
    const offset = toNumber(may(given, 'offset') ?? '0', 'offset');
    await nvWrite12(tpm, index, data, { ...accessOf(given), offset });
    print(`wrote ${data.length} bytes to ${show(index)}`);
  },
};

export const list: Subcommand = {
  help: 'lists the NV indexes with their attributes',
  options: {},
  async run({ tpm, print }) {
    for (const index of await readNvIndexes(tpm)) {
      const { dataSize, permission, pcrInfoRead, pcrInfoWrite } = await readNvPublic(tpm, index);
      print(`${show(index)}: ${dataSize} bytes, permission ${show(permission.attributes)}`);
      print(`  read : ${showBinding(pcrInfoRead)}`);
      print(`  write: ${showBinding(pcrInfoWrite)}`);
    }
  },
};

export const lock: Subcommand = {
  help: 'ends the time in which NV needs no authorisation, for good, as manufacturers do',
  options: {},
  async run({ tpm, print }) {
    await nvLock12(tpm);
    print('NV is locked');
  },
};

function numbersOf(given: Given, name: string): readonly number[] | undefined {
  const text = may(given, name);
  return text === undefined ? undefined : toNumbers(text, name);
}

function accessOf(given: Given) {
  const [owner, secret] = [secretOf(given, 'owner'), secretOf(given, 'auth')];
  return { ...(owner === undefined ? {} : { owner }), ...(secret === undefined ? {} : { secret }) };
}

function permissionOf(text: string): number {
  const names: Readonly<Record<string, number>> = TPM_NV_PER;
  const bits = text.split('|').map((part) => names[part.trim()] ?? toNumber(part.trim(), 'permission'));
  return bits.reduce((all, bit) => (all | bit) >>> 0, 0);
}

function show(number: number): string {
  return `0x${number.toString(16).padStart(8, '0')}`;
}

function showBinding({ pcrSelection, localityAtRelease }: TpmPcrInfoShort): string {
  const localities = [0, 1, 2, 3, 4].filter((locality) => ((localityAtRelease >> locality) & 1) === 1);
  const pcrs = selectedPcrs12(pcrSelection);
  return `PCRs ${pcrs.length === 0 ? 'none' : pcrs.join(',')}, localities ${localities.join(',')}`;
}
