// The loop of every fuzzer: seeded cases, a time bound for each, a bound on memory, counts by outcome.
import { memoryUsage } from 'node:process';

/** Numbers that a seed decides: the same seed and case give the same case again. */
export class Random {
  #state;

  constructor(seed, index = 0) {
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35);
  }

  /** 32 bits. */
  u32() {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** A whole number from 0 to `bound` - 1. */
  below(bound) {
    return Math.floor((this.u32() / 2 ** 32) * bound);
  }

  /** True in one of `times` cases. */
  oneIn(times) {
    return this.below(times) === 0;
  }

  /** A member of a list that is not empty. */
  pick(list) {
    return list[this.below(list.length)];
  }

  /** `length` bytes. */
  bytes(length) {
    return Uint8Array.from({ length }, () => this.u32() & 0xff);
  }
}

/** Runs cases of `target` until the time or the number of cases is up; gives counts and findings. */
export async function fuzzLoop(target, options) {
  const {
    seed,
    cases = Infinity,
    first = 0,
    milliseconds = Infinity,
    report = () => undefined,
    note = () => undefined,
  } = options;
  const { caseMilliseconds = 2000, growthMegabytes = 256, maxFindings = 20 } = options;
  // An outcome may be called what every object has, such as `constructor`.
  const state = {
    cases: 0,
    outcomes: Object.create(null),
    findings: [],
    slowest: 0,
    rss: megabytes(),
    started: Date.now(),
  };
  const run = await target.open(seed);
  let base;
  let reported = Date.now();
  try {
    for (let index = first; index < first + cases && Date.now() - state.started < milliseconds; index++) {
      note(index);
      await runCase(run, { seed, index, caseMilliseconds }, state);
      if (state.findings.length >= maxFindings) break;
      // Memory is compared with what it is once everything has been loaded and compiled.
      if (state.cases % 256 === 0) {
        state.rss = Math.max(state.rss, megabytes());
        if (state.cases >= 20_000) base ??= megabytes();
        if (base !== undefined && megabytes() - base > growthMegabytes) {
          add(state, index, new Error(`memory grew from ${base} to ${megabytes()} MB`));
          break;
        }
      }
      if (Date.now() - reported < 5000) continue;
      reported = Date.now();
      report(state);
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    await run.close();
  }
  return state;
}

/** One line of counts. */
export function summary({ cases, started, rss, slowest, outcomes, findings }) {
  const seconds = (Date.now() - started) / 1000;
  const counts = Object.entries(outcomes)
    .sort(([, a], [, b]) => b - a)
    .map(([outcome, count]) => `${outcome} ${count}`);
  const speed = `${seconds.toFixed(0)} s, ${cases} cases, ${Math.round(cases / Math.max(seconds, 0.001))}/s`;
  return `${speed}, slowest ${slowest.toFixed(0)} ms, memory ${rss} MB, findings ${findings.length}: ${counts.join(', ')}`;
}

async function runCase(run, { seed, index, caseMilliseconds }, state) {
  const start = performance.now();
  try {
    const outcome = await bounded(run.run(new Random(seed, index)), caseMilliseconds);
    state.outcomes[outcome] = (state.outcomes[outcome] ?? 0) + 1;
    const spent = performance.now() - start;
    state.slowest = Math.max(state.slowest, spent);
    if (spent > caseMilliseconds) throw new Error(`the case took ${spent.toFixed(0)} ms`);
  } catch (error) {
    add(state, index, error);
  }
  state.cases++;
}

function add(state, index, error) {
  state.findings.push({ index, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}

/** A case that only computes needs no timer; one that waits must not wait for ever. */
async function bounded(work, milliseconds) {
  if (!(work instanceof Promise)) return work;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the case did not settle within ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function megabytes() {
  return Math.round(memoryUsage.rss() / 2 ** 20);
}
