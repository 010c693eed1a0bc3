/** Probable primes: FIPS 186-5, appendices A.1.3 and B.3. */
import { modPow } from './integer.js';

/** Draws an integer from the key's random stream: `length` bytes. */
export type ByteSource = (length: number) => Uint8Array;

// Enough for an error below 2^-100 for random candidates of 512 bits and more: FIPS 186-5, table B.1.
const ROUNDS = 8;
const SMALL_PRIMES = primesBelow(2000);
const GROUPS = groupsOf(SMALL_PRIMES);

/** Has `candidate` a factor among the small primes? Cheap, and true of nearly all composites. */
export function hasSmallFactor(candidate: bigint): boolean {
  return GROUPS.some(({ product, primes }) => {
    const rest = Number(candidate % product);
    return primes.some((prime) => rest % prime === 0);
  });
}

/** Miller-Rabin with random bases out of `source`, for odd candidates above 2000 without a small factor. */
export function isProbablePrime(candidate: bigint, source: ByteSource): boolean {
  const last = candidate - 1n;
  let odd = last;
  let twos = 0;
  while ((odd & 1n) === 0n) {
    odd >>= 1n;
    twos++;
  }
  for (let round = 0; round < ROUNDS; round++) {
    if (isWitness(randomBase(candidate, source), candidate, odd, twos)) return false;
  }
  return true;
}

function isWitness(base: bigint, candidate: bigint, odd: bigint, twos: number): boolean {
  const last = candidate - 1n;
  let power = modPow(base, odd, candidate);
  if (power === 1n || power === last) return false;
  for (let i = 1; i < twos; i++) {
    power = (power * power) % candidate;
    if (power === last) return false;
  }
  return true;
}

function randomBase(candidate: bigint, source: ByteSource): bigint {
  const bytes = source(32);
  const value = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return 2n + (value % (candidate - 3n));
}

function primesBelow(limit: number): readonly number[] {
  const composite = new Uint8Array(limit);
  const primes: number[] = [];
  for (let n = 2; n < limit; n++) {
    if (composite[n]) continue;
    primes.push(n);
    for (let m = n * n; m < limit; m += n) composite[m] = 1;
  }
  return primes;
}

// One BigInt division serves several primes as long as their product is an exact double.
function groupsOf(
  primes: readonly number[],
): readonly { readonly product: bigint; readonly primes: readonly number[] }[] {
  const groups: { product: number; primes: number[] }[] = [];
  for (const prime of primes) {
    const group = groups.at(-1);
    if (group === undefined || group.product * prime > Number.MAX_SAFE_INTEGER)
      groups.push({ product: prime, primes: [prime] });
    else {
      group.product *= prime;
      group.primes.push(prime);
    }
  }
  return groups.map((group) => ({ product: BigInt(group.product), primes: group.primes }));
}
