/** Merging of equal strings and constants: what is the same stands once, and a string that ends another stands in it. gABI, "SHF_MERGE". */

/** What the pieces of a table have in common. */
export interface PieceForm {
  /** Bytes of a character or constant. */
  readonly unit: number;
  /** Whether pieces end with a character of zeros; else each is one constant. */
  readonly isText: boolean;
  /** Where pieces may begin: a power of two. */
  readonly alignment: number;
}

/** One section or segment in a table. */
export interface PieceMap {
  /** Keeps the piece at `offset`. */
  mark(offset: number): void;
  /** Where what was at `offset` lies in the table, once it is {@link PieceTable.finish}ed. */
  offsetOf(offset: number): number;
}

interface Piece {
  readonly text: string;
  isKept: boolean;
  offset: number;
}

/** Pieces of many sections, each kept once, and only if something refers to it. */
export class PieceTable {
  readonly #form: PieceForm;
  readonly #pieces = new Map<string, Piece>();

  constructor(form: PieceForm) {
    this.#form = form;
  }

  /** Takes the pieces of a section for which {@link isDivisible} holds. */
  add(content: Uint8Array): PieceMap {
    const starts: number[] = [];
    const pieces: Piece[] = [];
    for (let start = 0; start < content.length; ) {
      const end = pieceEnd(content, start, this.#form);
      starts.push(start);
      pieces.push(this.#piece(textOf(content, start, end)));
      start = end;
    }
    const find = (offset: number) => lastNotAbove(starts, offset);
    return {
      mark: (offset) => {
        const piece = pieces[find(offset)];
        if (piece) piece.isKept = true;
      },
      offsetOf: (offset) => {
        const i = find(offset);
        return (pieces[i]?.offset ?? 0) + offset - (starts[i] ?? 0);
      },
    };
  }

  /** Places the pieces that were marked, in the order in which they came in; gives the bytes of all. */
  finish(): Uint8Array {
    const kept = [...this.#pieces.values()].filter(({ isKept }) => isKept);
    const hosts = this.#form.isText ? findHosts(kept, this.#form.alignment) : new Map<Piece, Piece>();
    let end = 0;
    for (const piece of kept) {
      if (hosts.has(piece)) continue;
      piece.offset = Math.ceil(end / this.#form.alignment) * this.#form.alignment;
      end = piece.offset + piece.text.length;
    }
    const bytes = new Uint8Array(end);
    for (const piece of kept) {
      const host = hosts.get(piece);
      if (host) piece.offset = host.offset + host.text.length - piece.text.length;
      else for (let i = 0; i < piece.text.length; i++) bytes[piece.offset + i] = piece.text.charCodeAt(i);
    }
    return bytes;
  }

  #piece(text: string): Piece {
    const known = this.#pieces.get(text);
    if (known) return known;
    const piece = { text, isKept: false, offset: 0 };
    this.#pieces.set(text, piece);
    return piece;
  }
}

/** Whether a section consists of whole pieces. */
export function isDivisible(content: Uint8Array, { unit, isText, alignment }: PieceForm): boolean {
  if (content.length === 0 || content.length % unit !== 0) return false;
  if (!isText) return unit % alignment === 0;
  return content.subarray(content.length - unit).every((byte) => byte === 0);
}

function pieceEnd(content: Uint8Array, start: number, { unit, isText }: PieceForm): number {
  if (!isText) return start + unit;
  if (unit === 1) return content.indexOf(0, start) + 1;
  let at = start;
  while (!isZero(content, at, unit)) at += unit;
  return at + unit;
}

function isZero(content: Uint8Array, start: number, unit: number): boolean {
  for (let i = start; i < start + unit; i++) if (content[i] !== 0) return false;
  return true;
}

const CHUNK = 4096;

/** One character for each byte. */
function textOf(content: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let at = start; at < end; at += CHUNK)
    text += String.fromCharCode(...content.subarray(at, Math.min(at + CHUNK, end)));
  return text;
}

/** For each text that ends another one that text: after sorting by their last characters a text stands right behind its host. */
function findHosts(pieces: readonly Piece[], alignment: number): Map<Piece, Piece> {
  const reversed = pieces.map((piece) => ({ piece, key: reverse(piece.text) }));
  reversed.sort((a, b) => (a.key < b.key ? 1 : -1));
  const hosts = new Map<Piece, Piece>();
  let host: { readonly piece: Piece; readonly key: string } | undefined;
  for (const candidate of reversed) {
    const isEnd = host?.key.startsWith(candidate.key) === true;
    if (host && isEnd && (host.key.length - candidate.key.length) % alignment === 0)
      hosts.set(candidate.piece, host.piece);
    else if (!isEnd) host = candidate;
  }
  return hosts;
}

/** By parts: a text that is put together of single characters takes thirty times its length of memory. */
function reverse(text: string): string {
  let reversed = '';
  for (let end = text.length; end > 0; end -= CHUNK)
    reversed += text
      .slice(Math.max(0, end - CHUNK), end)
      .split('')
      .reverse()
      .join('');
  return reversed;
}

/** The index of the last of the ascending numbers that is not above `value`. */
function lastNotAbove(numbers: readonly number[], value: number): number {
  let low = 0;
  for (let high = numbers.length; high - low > 1; ) {
    const middle = (low + high) >> 1;
    if ((numbers[middle] ?? 0) <= value) low = middle;
    else high = middle;
  }
  return low;
}
