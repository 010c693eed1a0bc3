/** Sections of texts and constants that objects have in common: each piece stands once, and only if something refers to it. gABI, SHF_MERGE. */
import { isDivisible, type PieceForm, type PieceMap, PieceTable } from '../pieces.js';
import { SHF, SHN, SHT, STT } from './constants.js';
import { keptSections } from './layout.js';
import type { Live } from './liveness.js';
import { type ElfMachine, type ElfSection, eachRelocation } from './object.js';
import type { LinkedObject } from './symbols.js';

/** What is kept, with merged sections in the place of those that they were made of. */
export interface Merges {
  /** The sections that are merged belong to an object of their own, the first of all. */
  readonly live: Live;
  /** Where what was at `offset` of a section is now; `undefined` where that section was not merged. */
  readonly find: (object: LinkedObject, section: number, offset: number) => Piece | undefined;
}

/** A place in a merged section. */
interface Piece {
  /** The object of the merged sections. */
  readonly object: LinkedObject;
  /** The number of the section. */
  readonly section: number;
  /** The place in it. */
  readonly offset: number;
}

interface Candidate {
  readonly group: Group;
  readonly pieces: PieceMap;
  readonly size: number;
}

interface Group {
  readonly table: PieceTable;
  readonly form: PieceForm;
  readonly index: number;
}

type Candidates = Map<LinkedObject, Map<number, Candidate>>;

/** Merges what can be. A section that something refers to outside of its bounds stays as it is. */
export function planMerges(live: Live, machine: ElfMachine): Merges {
  const groups: Group[] = [];
  const candidates = findCandidates(live, groups);
  if (groups.length === 0) return { live, find: () => undefined };
  markPieces(live, candidates);
  const object = mergedObject(groups, machine);
  const sections = new Map<LinkedObject, ReadonlySet<number>>([[object, new Set(groups.map(({ index }) => index))]]);
  for (const [owner, kept] of live.sections)
    sections.set(owner, new Set([...kept].filter((section) => !candidates.get(owner)?.has(section))));
  const find: Merges['find'] = (owner, section, offset) => {
    const candidate = candidates.get(owner)?.get(section);
    return candidate && { object, section: candidate.group.index, offset: candidate.pieces.offsetOf(offset) };
  };
  return { live: { ...live, sections }, find };
}

function findCandidates(live: Live, groups: Group[]): Candidates {
  const candidates: Candidates = new Map();
  for (const { object, section } of keptSections(live)) {
    const form = formOf(section);
    if (form === undefined || !isDivisible(section.content, form)) continue;
    const group = groupOf(groups, form);
    const candidate = { group, pieces: group.table.add(section.content), size: section.size };
    const known = candidates.get(object);
    if (known) known.set(section.index, candidate);
    else candidates.set(object, new Map([[section.index, candidate]]));
  }
  return candidates;
}

/** Sections with a name that C code can write stay whole: their bounds may be asked for. */
function formOf({ flags, entrySize, alignment, type, name, relocations }: ElfSection): PieceForm | undefined {
  const isMerged = (flags & (SHF.MERGE | SHF.WRITE | SHF.EXECINSTR | SHF.GNU_RETAIN)) === SHF.MERGE;
  if (!isMerged || entrySize === 0 || entrySize > MAX_UNIT || type !== SHT.PROGBITS) return undefined;
  if (relocations !== undefined || /^[A-Za-z_]\w*$/.test(name)) return undefined;
  return { unit: entrySize, alignment, isText: (flags & SHF.STRINGS) !== 0 };
}

const MAX_UNIT = 64;

function groupOf(groups: Group[], form: PieceForm): Group {
  const { unit, isText, alignment } = form;
  const known = groups.find((g) => g.form.unit === unit && g.form.isText === isText && g.form.alignment === alignment);
  if (known) return known;
  const group = { table: new PieceTable(form), form, index: groups.length };
  groups.push(group);
  return group;
}

/** A reference by the number of a section names a piece by its addend; one by a symbol by the symbol alone. */
function markPieces(live: Live, candidates: Candidates): void {
  for (const { object, section } of keptSections(live)) {
    eachRelocation(object.elf, section, (_type, _offset, index, addend) => {
      const definition = object.shared[index]?.definition;
      const owner = definition?.from ?? object;
      const symbol = definition?.symbol ?? object.elf.symbols[index];
      if (symbol === undefined || symbol.section === SHN.UNDEF) return;
      const sections = candidates.get(owner);
      const candidate = sections?.get(symbol.section);
      if (candidate === undefined) return;
      const offset = symbol.value + (symbol.type === STT.SECTION ? addend : 0);
      if (offset >= 0 && offset <= candidate.size) candidate.pieces.mark(offset);
      else sections?.delete(symbol.section);
    });
  }
}

function mergedObject(groups: readonly Group[], machine: ElfMachine): LinkedObject {
  const sections = groups.map(({ table, form, index }): ElfSection => {
    const content = table.finish();
    const { unit, isText, alignment } = form;
    const name = isText ? `.rodata.str${unit}.${alignment}` : `.rodata.cst${unit}`;
    const flags = SHF.ALLOC | SHF.MERGE | (isText ? SHF.STRINGS : 0);
    const size = content.length;
    return {
      index,
      name,
      type: SHT.PROGBITS,
      flags,
      size,
      alignment,
      entrySize: unit,
      content,
      relocations: undefined,
    };
  });
  const elf = { name: '(merged)', machine, sections, symbols: [], groups: [] };
  return { elf, shared: [], discarded: new Set(), order: [-1, 0] };
}
