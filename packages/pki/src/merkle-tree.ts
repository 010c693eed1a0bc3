/** Merkle tree hashes and proofs over a list that only grows (RFC 9162 section 2.1, the hashes of RFC 6962 section 2.1). */
import { sha256 } from '@noble/hashes/sha2.js';
import { equalBytes } from './bytes.js';
import { PkiError } from './error.js';

const HASH = 32;
const EMPTY = sha256(new Uint8Array());

/** The hash of an entry: SHA-256 of a zero byte and the entry. */
export function leafHash(entry: Uint8Array): Uint8Array {
  return sha256.create().update(Uint8Array.of(0)).update(entry).digest();
}

function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256.create().update(Uint8Array.of(1)).update(left).update(right).digest();
}

/** A tree that keeps the hash of every complete subtree: 64 bytes an entry, and every answer in logarithmic time. */
export interface MerkleTree {
  /** How many leaves it has. */
  readonly size: number;
  /** Appends the hash of an entry, see {@link leafHash}. */
  append(leaf: Uint8Array): void;
  /** The hash of the first `size` leaves; of all without it. Throws {@link PkiError} `bad-input`. */
  root(size?: number): Uint8Array;
  /** The hashes that lead from leaf `index` to the root over `size` leaves. Throws {@link PkiError} `bad-input`. */
  inclusionProof(index: number, size?: number): readonly Uint8Array[];
  /** The hashes that show that `from` leaves are the beginning of `to` leaves. Throws {@link PkiError} `bad-input`. */
  consistencyProof(from: number, to?: number): readonly Uint8Array[];
}

/** An empty {@link MerkleTree}. */
export function createMerkleTree(): MerkleTree {
  const levels: HashList[] = [hashList()];
  const leaves = () => levels[0]?.length ?? 0;
  const assertSize = (size: number) => assertRange('size', size, 0, leaves());
  return {
    get size() {
      return leaves();
    },
    append: (leaf) => appendLeaf(levels, leaf),
    root(size = leaves()) {
      assertSize(size);
      return size === 0 ? EMPTY : rangeHash(levels, 0, size);
    },
    inclusionProof(index, size = leaves()) {
      assertSize(size);
      assertRange('index', index, 0, size - 1);
      return pathTo(levels, index, 0, size);
    },
    consistencyProof(from, to = leaves()) {
      assertSize(to);
      assertRange('size', from, 0, to);
      return from === 0 || from === to ? [] : subproof(levels, from, 0, to, true);
    },
  };
}

function assertRange(what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new PkiError('bad-input', `use Merkle tree: expected ${what} from ${least} to ${most}, got ${value}`);
}

/** Completes every subtree that the new leaf closes. */
function appendLeaf(levels: HashList[], leaf: Uint8Array): void {
  if (leaf.length !== HASH) throw new PkiError('bad-input', `append leaf: expected 32 bytes, got ${leaf.length}`);
  let hash = leaf;
  for (let level = 0; ; level++) {
    const list = levels[level] ?? hashList();
    levels[level] = list;
    list.push(hash);
    if (list.length % 2 === 1) return;
    hash = nodeHash(list.at(list.length - 2), list.at(list.length - 1));
  }
}

/** MTH(D[start:end]). Every subtree of the definition is aligned, so that a complete one is kept. */
function rangeHash(levels: readonly HashList[], start: number, end: number): Uint8Array {
  const count = end - start;
  const level = Math.log2(count);
  const list = Number.isInteger(level) ? levels[level] : undefined;
  if (list !== undefined) return list.at(start / count);
  const middle = start + split(count);
  return nodeHash(rangeHash(levels, start, middle), rangeHash(levels, middle, end));
}

/** PATH(m, D[start:end]). */
function pathTo(levels: readonly HashList[], index: number, start: number, end: number): readonly Uint8Array[] {
  if (end - start === 1) return [];
  const middle = start + split(end - start);
  return index < middle
    ? [...pathTo(levels, index, start, middle), rangeHash(levels, middle, end)]
    : [...pathTo(levels, index, middle, end), rangeHash(levels, start, middle)];
}

/** SUBPROOF(m, D[start:end], b). */
function subproof(
  levels: readonly HashList[],
  from: number,
  start: number,
  end: number,
  known: boolean,
): readonly Uint8Array[] {
  if (from === end) return known ? [] : [rangeHash(levels, start, end)];
  const middle = start + split(end - start);
  return from <= middle
    ? [...subproof(levels, from, start, middle, known), rangeHash(levels, middle, end)]
    : [...subproof(levels, from, middle, end, false), rangeHash(levels, start, middle)];
}

/** The largest power of two below `count`. */
function split(count: number): number {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}

/** Hashes side by side in one array that doubles. */
interface HashList {
  readonly length: number;
  push(hash: Uint8Array): void;
  at(index: number): Uint8Array;
}

function hashList(): HashList {
  let bytes = new Uint8Array(8 * HASH);
  let length = 0;
  return {
    get length() {
      return length;
    },
    push(hash) {
      if ((length + 1) * HASH > bytes.length) {
        const larger = new Uint8Array(bytes.length * 2);
        larger.set(bytes);
        bytes = larger;
      }
      bytes.set(hash, length * HASH);
      length += 1;
    },
    at: (index) => bytes.slice(index * HASH, (index + 1) * HASH),
  };
}

/** What a proof of inclusion is about. */
export interface InclusionClaim {
  /** The entry's place, from 0. */
  readonly index: number;
  /** How many entries the tree has. */
  readonly size: number;
  /** The root of that tree. */
  readonly root: Uint8Array;
  /** The hashes from the entry upwards. */
  readonly proof: readonly Uint8Array[];
}

/** Whether `entry` stands at `index` in the tree with that root (RFC 9162 section 2.1.3.2). */
export function verifyInclusion(entry: Uint8Array, claim: InclusionClaim): boolean {
  const { index, size, root, proof } = claim;
  if (!isCount(index) || !isCount(size) || index >= size || !areHashes(proof)) return false;
  let [place, last, hash] = [index, size - 1, leafHash(entry)];
  for (const node of proof) {
    if (last === 0) return false;
    if (place % 2 === 1 || place === last) {
      hash = nodeHash(node, hash);
      while (place % 2 === 0 && place !== 0) [place, last] = [half(place), half(last)];
    } else {
      hash = nodeHash(hash, node);
    }
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && equalBytes(hash, root);
}

/** What a proof of consistency is about. */
export interface ConsistencyClaim {
  /** The size of the earlier tree. */
  readonly from: number;
  /** Its root. */
  readonly fromRoot: Uint8Array;
  /** The size of the later tree. */
  readonly to: number;
  /** Its root. */
  readonly toRoot: Uint8Array;
  /** The hashes between them. */
  readonly proof: readonly Uint8Array[];
}

/** Whether the earlier tree is the beginning of the later one (RFC 9162 section 2.1.4.2). */
export function verifyConsistency(claim: ConsistencyClaim): boolean {
  const { from, to, fromRoot, toRoot, proof } = claim;
  if (!isCount(from) || !isCount(to) || from > to || !areHashes(proof)) return false;
  if (from === 0) return proof.length === 0 && equalBytes(fromRoot, EMPTY) && (to > 0 || equalBytes(toRoot, EMPTY));
  if (from === to) return proof.length === 0 && equalBytes(fromRoot, toRoot);
  const [first, ...rest] = Number.isInteger(Math.log2(from)) ? [fromRoot, ...proof] : proof;
  if (first === undefined || rest.length === 0) return false;
  let [place, last, older, newer] = [from - 1, to - 1, first, first];
  while (place % 2 === 1) [place, last] = [half(place), half(last)];
  for (const node of rest) {
    if (last === 0) return false;
    if (place % 2 === 1 || place === last) {
      older = nodeHash(node, older);
      newer = nodeHash(node, newer);
      while (place % 2 === 0 && place !== 0) [place, last] = [half(place), half(last)];
    } else {
      newer = nodeHash(newer, node);
    }
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && equalBytes(older, fromRoot) && equalBytes(newer, toRoot);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** A tree of 2^53 leaves has paths of 53 hashes. */
function areHashes(proof: readonly Uint8Array[]): boolean {
  return proof.length <= 64 && proof.every((hash) => hash.length === HASH);
}

function half(value: number): number {
  return Math.floor(value / 2);
}
