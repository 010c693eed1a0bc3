/** Where the data of a PAL of WebAssembly objects lies in its memory: the stack first, so that an overflow of it traps. */
import { PalLinkerError } from '../error.js';
import { WASM_PAGE } from '../image.js';
import { isDivisible, type PieceForm, type PieceMap, PieceTable } from '../pieces.js';
import { SEGMENT } from './constants.js';
import { isNamedPiece, type Kept, type Target, type WasmLive } from './liveness.js';
import type { ObjectSegment, WasmRelocation } from './object.js';
import type { LinkedWasm } from './symbols.js';

/** A segment with its place. */
interface PlacedSegment {
  /** Whose; `undefined` for merged texts. */
  readonly from: LinkedWasm | undefined;
  /** Such as `.rodata.message`. */
  readonly name: string;
  /** Its place in memory. */
  readonly address: number;
  /** Its bytes; `undefined` where all are zeros. */
  readonly content: Uint8Array | undefined;
  /** Bytes. */
  readonly size: number;
  /** What is filled in. */
  readonly relocations: readonly WasmRelocation[];
}

/** The memory of a PAL. */
export interface WasmLayout {
  /** In the order of addresses. */
  readonly segments: readonly PlacedSegment[];
  /** The address of what lies at `offset` of a segment. */
  readonly addressOf: (from: LinkedWasm, segment: number, offset: number) => number;
  /** The addresses that the linker makes. */
  readonly made: ReadonlyMap<string, number>;
  /** Where data with content begins and ends. */
  readonly content: { readonly start: number; readonly end: number };
  /** Pages of 64 KiB at the start. */
  readonly pages: number;
  /** The stack pointer at the start. */
  readonly stackTop: number;
}

/** The sizes that are not in the objects. */
export interface WasmSizes {
  /** Bytes of the stack. */
  readonly stackBytes: number;
  /** Bytes for `__heap_base` to `__heap_end`. */
  readonly heapBytes: number;
}

interface Placeable {
  readonly from: LinkedWasm | undefined;
  readonly name: string;
  readonly alignment: number;
  readonly content: Uint8Array;
  readonly relocations: readonly WasmRelocation[];
  readonly place: (address: number) => void;
}

const MAX_ADDRESS = 2 ** 30;
const STACK_ALIGNMENT = 16;

/** Places everything: texts are merged, zeros come last. */
export function planWasmLayout(live: WasmLive, { stackBytes, heapBytes }: WasmSizes): WasmLayout {
  const places = new Map<LinkedWasm, Map<number, (offset: number) => number>>();
  const inputs = sortInputs([...mergeTexts(live, places), ...plainSegments(live, places)]);
  const stackTop = alignUp(stackBytes, STACK_ALIGNMENT);
  let address = stackTop;
  let contentEnd = stackTop;
  const segments = inputs.map(({ from, name, alignment, content, relocations, place }): PlacedSegment => {
    address = alignUp(address, alignment);
    place(address);
    const isZeroed = isZeros(content, relocations);
    const placed = { from, name, address, size: content.length, relocations, content: isZeroed ? undefined : content };
    address += content.length;
    if (!isZeroed) contentEnd = address;
    return placed;
  });
  const heap = alignUp(address, STACK_ALIGNMENT);
  const pages = Math.ceil((heap + heapBytes) / WASM_PAGE);
  if (pages * WASM_PAGE > MAX_ADDRESS)
    throw new PalLinkerError(
      'limit',
      `link PAL: expected at most ${MAX_ADDRESS} bytes of memory, got ${heap + heapBytes}`,
    );
  const fixed = new Map([
    ['__heap_base', heap],
    ['__heap_end', pages * WASM_PAGE],
    ['__data_end', address],
    ['__global_base', stackTop],
    ['__stack_low', 0],
    ['__stack_high', stackTop],
    ['__dso_handle', stackTop],
  ]);
  const bounds = boundsOf(segments);
  const made = new Map([...live.made].map((name) => [name, fixed.get(name) ?? boundOf(name, bounds)]));
  const addressOf: WasmLayout['addressOf'] = (from, segment, offset) => places.get(from)?.get(segment)?.(offset) ?? 0;
  return { segments, addressOf, made, content: { start: stackTop, end: contentEnd }, pages, stackTop };
}

type Places = Map<LinkedWasm, Map<number, (offset: number) => number>>;

function remember(places: Places, from: LinkedWasm, segment: number, find: (offset: number) => number): void {
  const known = places.get(from);
  if (known) known.set(segment, find);
  else places.set(from, new Map([[segment, find]]));
}

function plainSegments(live: WasmLive, places: Places): readonly Placeable[] {
  return live.segments.flatMap(({ from, index }) => {
    const segment = from.wasm.segments[index];
    if (segment === undefined || formOf(segment) !== undefined) return [];
    const place = (address: number) => remember(places, from, index, (offset) => address + offset);
    return [{ ...segment, from, place }];
  });
}

/** How a segment is taken apart; `undefined` where it stays whole. */
function formOf({ flags, alignment, content, relocations, name }: ObjectSegment): PieceForm | undefined {
  const form = { unit: 1, isText: true, alignment };
  const isText = (flags & SEGMENT.STRINGS) !== 0 && (flags & SEGMENT.RETAIN) === 0 && !isNamedPiece(name);
  return isText && relocations.length === 0 && isDivisible(content, form) ? form : undefined;
}

/** One piece of data for each alignment of texts. */
function mergeTexts(live: WasmLive, places: Places): readonly Placeable[] {
  const tables = new Map<number, { readonly table: PieceTable; address: number }>();
  const maps = new Map<LinkedWasm, Map<number, PieceMap>>();
  for (const { from, index } of live.segments) {
    const segment = from.wasm.segments[index];
    const form = segment && formOf(segment);
    if (segment === undefined || form === undefined) continue;
    const group = tables.get(form.alignment) ?? { table: new PieceTable(form), address: 0 };
    tables.set(form.alignment, group);
    const map = group.table.add(segment.content);
    maps.set(from, (maps.get(from) ?? new Map<number, PieceMap>()).set(index, map));
    remember(places, from, index, (offset) => group.address + map.offsetOf(offset));
  }
  if (tables.size > 0) markPieces(live, maps);
  return [...tables].map(([alignment, group]) => ({
    from: undefined,
    name: '.rodata.str',
    alignment,
    content: group.table.finish(),
    relocations: [],
    place: (address) => {
      group.address = address;
    },
  }));
}

function markPieces(live: WasmLive, maps: ReadonlyMap<LinkedWasm, ReadonlyMap<number, PieceMap>>): void {
  const mark = (target: Target) => {
    if (target.kind === 'data') maps.get(target.from)?.get(target.segment)?.mark(target.offset);
  };
  const follow = ({ from, index }: Kept, kind: 'functions' | 'segments') => {
    for (const relocation of from.wasm[kind][index]?.relocations ?? []) {
      // Types have numbers of their own.
      if (relocation.type !== TYPE_INDEX_LEB) mark(live.targetOf(from, relocation));
    }
  };
  for (const kept of live.functions) follow(kept, 'functions');
  for (const kept of live.segments) follow(kept, 'segments');
}

const TYPE_INDEX_LEB = 6;

/** Constants, data, then zeros; sections whose bounds somebody may take in one piece; all else in its order. */
function sortInputs(inputs: readonly Placeable[]): readonly Placeable[] {
  const rank = ({ name, content, relocations }: Placeable) => {
    if (isNamedPiece(name)) return `2${name}`;
    if (isZeros(content, relocations)) return '3';
    return name.startsWith('.rodata') ? '0' : '1';
  };
  const ranked = inputs.map((input) => ({ input, key: rank(input) }));
  ranked.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return ranked.map(({ input }) => input);
}

function isZeros(content: Uint8Array, relocations: readonly WasmRelocation[]): boolean {
  return relocations.length === 0 && content.every((byte) => byte === 0);
}

interface Bounds {
  readonly start: number;
  readonly stop: number;
}

/** The first and the last address of the segments of each name that C code can write; they stand in one piece. */
function boundsOf(segments: readonly PlacedSegment[]): ReadonlyMap<string, Bounds> {
  const bounds = new Map<string, Bounds>();
  for (const { name, address, size } of segments)
    if (isNamedPiece(name)) bounds.set(name, { start: bounds.get(name)?.start ?? address, stop: address + size });
  return bounds;
}

function boundOf(symbol: string, bounds: ReadonlyMap<string, Bounds>): number {
  const [, side, name = ''] = /^__(start|stop)_(.*)$/.exec(symbol) ?? [];
  const found = bounds.get(name);
  return (side === 'start' ? found?.start : found?.stop) ?? 0;
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
