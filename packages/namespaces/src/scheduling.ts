/** Scheduling to the operation that the launcher performs on the sandbox from outside: sched_setattr(2), ioprio_set(2). */
import type { Scheduling, SchedulingPolicy } from './confinement-spec.js';
import { bad } from './error.js';
import type { Operation } from './operations.js';

/** The operation for `scheduling`. Throws `NamespaceError` `bad-spec`. */
export function planScheduling({ nice, policy, processors = [], io }: Scheduling): Operation {
  if (nice !== undefined && !(Number.isInteger(nice) && nice >= -20 && nice <= 19))
    throw bad(`expected nice -20 … 19, got ${nice}`);
  const level = io?.level ?? 4;
  if (!Number.isInteger(level) || level < 0 || level > 7) throw bad(`expected an io level 0 … 7, got ${level}`);
  const wants = (nice === undefined ? 0 : 1) | (policy ? 2 : 0) | (io ? 4 : 0);
  return {
    op: 'scheduling',
    wants,
    nice: (nice ?? 0) >>> 0,
    io: io ? (IO_CLASSES[io.class] << 13) | level : 0,
    ...attributesOf(policy),
    processors: processorMask(processors),
  };
}

function attributesOf(
  policy: SchedulingPolicy | undefined,
): Omit<Extract<Operation, { op: 'scheduling' }>, 'op' | 'wants' | 'nice' | 'io' | 'processors'> {
  const none = { flags: 0n, priority: 0, runtime: 0n, deadline: 0n, period: 0n };
  if (!policy) return { policy: 0, ...none };
  const number = POLICIES[policy.type];
  if (policy.type === 'deadline') {
    const { runtime, deadline, period } = policy;
    if (runtime <= 0n || runtime > deadline || deadline > period || period >= 1n << 63n) {
      throw bad(`expected runtime, deadline and period in rising order, got ${runtime}, ${deadline}, ${period}`);
    }
    return { ...none, policy: number, runtime, deadline, period };
  }
  if (policy.type !== 'fifo' && policy.type !== 'round-robin') return { ...none, policy: number };
  const { priority, resetOnFork = false } = policy;
  if (!Number.isInteger(priority) || priority < 1 || priority > 99)
    throw bad(`expected a priority 1 … 99, got ${priority}`);
  return { ...none, policy: number, priority, flags: resetOnFork ? 1n : 0n };
}

function processorMask(processors: readonly number[]): Uint8Array {
  const stray = processors.find((number) => !Number.isInteger(number) || number < 0 || number >= MAX_PROCESSORS);
  if (stray !== undefined) throw bad(`expected the number of a processor, 0 … ${MAX_PROCESSORS - 1}, got ${stray}`);
  if (processors.length === 0) return new Uint8Array();
  const mask = new Uint8Array((Math.max(...processors) >> 6) * 8 + 8); // the kernel reads it in words
  for (const number of processors) mask[number >> 3] = (mask[number >> 3] ?? 0) | (1 << (number & 7));
  return mask;
}

const MAX_PROCESSORS = 8192;
const IO_CLASSES = { realtime: 1, 'best-effort': 2, idle: 3 } as const;
const POLICIES = { other: 0, fifo: 1, 'round-robin': 2, batch: 3, idle: 5, deadline: 6 } as const;
