/** Numbers that a seed decides: the same seed and case give the same case again. */
export declare class Random {
  constructor(seed: number, index?: number);
  /** 32 bits. */
  u32(): number;
  /** A whole number from 0 to `bound` - 1. */
  below(bound: number): number;
  /** True in one of `times` cases. */
  oneIn(times: number): boolean;
  /** A member of a list that is not empty. */
  pick<T>(list: readonly [T, ...T[]] | readonly T[]): T;
  /** `length` bytes. */
  bytes(length: number): Uint8Array;
}

/** What a `*.fuzz.ts` exports as `target`. */
export interface FuzzTarget {
  /** Opens what the cases run against; `seed` is that of the whole run. */
  open(seed: number): Promise<FuzzRun>;
}

/** An open target. */
export interface FuzzRun {
  /** One case. Gives a word for the statistics; whatever it throws is a finding. */
  run(random: Random): string | Promise<string>;
  close(): Promise<void>;
}

export interface FuzzState {
  readonly cases: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly findings: readonly { readonly index: number; readonly error: string }[];
  /** The longest case, in milliseconds. */
  readonly slowest: number;
  /** The most memory seen, in megabytes. */
  readonly rss: number;
  readonly started: number;
}

export interface FuzzOptions {
  readonly seed: number;
  /** How many cases at most. */
  readonly cases?: number;
  /** The number of the first case. Default 0. */
  readonly first?: number;
  /** How long at most. */
  readonly milliseconds?: number;
  /** How long one case may take. Default 2000. */
  readonly caseMilliseconds?: number;
  /** How much the process may grow after its first 20 000 cases. Default 256. */
  readonly growthMegabytes?: number;
  /** Default 20. */
  readonly maxFindings?: number;
  /** Called every few seconds. */
  readonly report?: (state: FuzzState) => void;
  /** Called with the number of each case before it runs. */
  readonly note?: (index: number) => void;
}

export declare function fuzzLoop(target: FuzzTarget, options: FuzzOptions): Promise<FuzzState>;
export declare function summary(state: FuzzState): string;
