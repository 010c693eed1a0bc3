/** A short run of each fuzzer; `npm run fuzz -- tpm --minutes 10` is the long one. */
import { describe, expect, it } from 'vitest';
import { fuzzLoop } from '../../../scripts/fuzz-loop.mjs';
import { target as decoder } from '../fuzz/decoder.fuzz.js';
import { target as session } from '../fuzz/session.fuzz.js';

describe('mutated real bytes', () => {
  it('through the decoders give values that encode to the same bytes, or typed errors', async () => {
    const { cases, outcomes, findings } = await fuzzLoop(decoder, { seed: 1, cases: 10_000 });
    expect(findings).toEqual([]);
    expect(cases).toBe(10_000);
    // The mutations reach behind the header: there are values, and every kind of refusal.
    for (const outcome of ['response decoded', 'refusal decoded', 'command decoded', 'response decode']) {
      expect(outcomes[outcome], outcome).toBeGreaterThan(50);
    }
    for (const code of ['truncated', 'trailing', 'too-long', 'bad-value', 'reserved-bits']) {
      expect(outcomes[`response ${code}`], code).toBeGreaterThan(0);
    }
  });

  it('in the middle of sessions, policies and swaps give typed errors, and no change goes unnoticed', async () => {
    const { cases, outcomes, findings } = await fuzzLoop(session, { seed: 1, cases: 400, caseMilliseconds: 20_000 });
    expect(findings).toEqual([]);
    expect(cases).toBe(400);
    for (const outcome of ['decode', 'integrity', 'response', 'unchanged']) {
      expect(outcomes[outcome], outcome).toBeGreaterThan(0);
    }
  });
});
