/** Runs contenders in turn in one process and reports how they compare; ratios count, absolute times are noise. */

/** What a run of one contender gave: median, extremes, and how many samples. */
interface Sample {
  readonly p50: number;
  readonly min: number;
  readonly max: number;
  readonly n: number;
}

/** A comparison: `ours` and each of `theirs` return one measured value in `unit` a call. */
export interface Comparison {
  readonly area: string;
  readonly name: string;
  readonly unit: string;
  readonly better: 'lower' | 'higher';
  readonly ours: () => number | Promise<number>;
  readonly theirs: Readonly<Record<string, () => number | Promise<number>>>;
  readonly rounds: number;
}

/** The flags of every benchmark program. */
export const flags = { json: process.argv.includes('--json'), quick: process.argv.includes('--quick') };

/** Measures one comparison and prints a line for each peer. */
export async function compare(comparison: Comparison): Promise<void> {
  const contenders = { ours: comparison.ours, ...comparison.theirs };
  const values = new Map(Object.keys(contenders).map((who) => [who, [] as number[]]));
  for (const run of Object.values(contenders)) await run(); // warm
  for (let round = 0; round < comparison.rounds; round++) {
    const turn = Object.entries(contenders);
    if (round % 2 === 1) turn.reverse(); // no contender always goes first
    for (const [who, run] of turn) values.get(who)?.push(await run());
  }
  const ours = summarise(values.get('ours') ?? []);
  for (const who of Object.keys(comparison.theirs)) print(comparison, ours, who, summarise(values.get(who) ?? []));
}

/**
 * Nanoseconds of processor time that an operation takes, from a batch that runs for about `milliseconds`: a machine that
 * is shared takes turns away from both contenders, but not evenly. The results are kept so that no work is optimised away.
 */
export function timeBatch(operation: () => unknown, milliseconds = flags.quick ? 10 : 50): number {
  let kept: unknown;
  let count = 0;
  let used = 0;
  const start = process.cpuUsage();
  while (used < milliseconds * 1000) {
    for (let i = 0; i < 100; i++) kept = operation();
    count += 100;
    const { user, system } = process.cpuUsage(start);
    used = user + system;
  }
  if (kept === undefined) throw new Error('the measured operation returned nothing');
  return (used * 1000) / count;
}

function summarise(values: readonly number[]): Sample {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number): number => sorted[Math.floor((sorted.length - 1) * q)] ?? Number.NaN;
  return { p50: at(0.5), min: at(0), max: at(1), n: sorted.length };
}

function print({ area, name, unit, better }: Comparison, ours: Sample, who: string, theirs: Sample): void {
  const ratio = better === 'lower' ? theirs.p50 / ours.p50 : ours.p50 / theirs.p50;
  if (flags.json) {
    const rounded = Number(ratio.toFixed(3));
    console.log(JSON.stringify({ area, name, unit, better, ours, theirs: { who, ...theirs }, ratio: rounded }));
    return;
  }
  const show = (value: number): string => value.toPrecision(4);
  console.log(
    `${name}: ours ${show(ours.p50)} ${unit}, ${who} ${show(theirs.p50)} ${unit} (${ratio.toFixed(2)} × ${ratio >= 1 ? 'ahead' : 'behind'})`,
  );
}
