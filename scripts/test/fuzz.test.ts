/** The fuzz loop finds what it must find: errors, slowness and promises that never settle; and repeats itself by seed. */
import { describe, expect, it } from 'vitest';
import { type FuzzTarget, fuzzLoop, Random } from '../fuzz-loop.mjs';

const targetOf = (run: (random: Random) => string | Promise<string>): FuzzTarget => ({
  open: async () => ({ run, close: async () => undefined }),
});

describe('the fuzz loop', () => {
  it('counts outcomes, and names the case that threw', async () => {
    const target = targetOf((random) => {
      if (random.below(10) === 3) throw new TypeError('not typed');
      return 'fine';
    });
    const { findings, outcomes, cases } = await fuzzLoop(target, { seed: 7, cases: 40 });
    expect(cases).toBe(40);
    expect(findings.length).toBeGreaterThan(0);
    expect((outcomes.fine ?? 0) + findings.length).toBe(40);
    const again = await fuzzLoop(target, { seed: 7, first: findings[0]?.index ?? -1, cases: 1 });
    expect(again.findings[0]?.error).toContain('not typed');
  });

  it('counts an outcome by any name', async () => {
    const { outcomes } = await fuzzLoop(
      targetOf(() => 'constructor'),
      { seed: 7, cases: 3 },
    );
    expect(outcomes.constructor).toBe(3);
  });

  it('finds a case that is too slow, and one that never settles', async () => {
    const slow = targetOf(() => {
      const end = performance.now() + 30;
      while (performance.now() < end);
      return 'slow';
    });
    const stuck = targetOf(() => new Promise<string>(() => undefined));
    for (const [target, text] of [
      [slow, 'took'],
      [stuck, 'did not settle'],
    ] as const) {
      const { findings } = await fuzzLoop(target, { seed: 1, cases: 1, caseMilliseconds: 10 });
      expect(findings[0]?.error).toContain(text);
    }
  });

  it('draws the same numbers from the same seed, all over their range', () => {
    const draw = (seed: number) =>
      Array.from(
        { length: 2000 },
        (
          (random) => () =>
            random.below(16)
        )(new Random(seed)),
      );
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    expect(new Set(draw(1)).size).toBe(16);
  });
});
