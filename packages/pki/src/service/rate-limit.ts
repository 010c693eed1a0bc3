/** How often somebody may ask: a bucket of tokens for each, refilled over time. */

/** The size and the refill of a bucket. */
export interface RateLimit {
  /** How many requests may come at once. */
  readonly burst: number;
  /** How many may come per second in the long run. */
  readonly perSecond: number;
}

/** Buckets are kept for so many at most: a flood of addresses costs memory of a known size. */
const MAX_BUCKETS = 10_000;

/** Gives a function that takes one request of `who`: 0 where it may go on, or the milliseconds to wait. */
export function rateLimiter({ burst, perSecond }: RateLimit, now: () => number = () => performance.now()) {
  const buckets = new Map<string, { tokens: number; at: number }>();
  return (who: string): number => {
    const time = now();
    const bucket = buckets.get(who) ?? { tokens: burst, at: time };
    const tokens = Math.min(burst, bucket.tokens + ((time - bucket.at) / 1000) * perSecond);
    // Put at the end: the first in the map is the one that was asked for longest ago.
    buckets.delete(who);
    const [oldest] = buckets.keys();
    if (buckets.size >= MAX_BUCKETS && oldest !== undefined) buckets.delete(oldest);
    buckets.set(who, { tokens: tokens < 1 ? tokens : tokens - 1, at: time });
    return tokens < 1 ? ((1 - tokens) / perSecond) * 1000 : 0;
  };
}
