/** A hostile application: whatever it asks for, in whatever order, gets an error at most, and a PAL beside it goes on. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  memoryStore,
  openTrustvisor,
  type Pal,
  type SharedMemory,
  type Trustvisor,
  TrustvisorError,
} from '../src/index.js';
import { ROGUE, rogue, services } from './pals.js';

const NONE = new Uint8Array(0);

/** Numbers that a careful caller gives, and numbers that none does. */
const anyNumber = fc.oneof(
  fc.nat(20),
  fc.integer(),
  fc.constantFrom(-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53),
);
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc.constantFrom(16384, 16385, 20000).map((n) => new Uint8Array(n)),
);
const anyLoan = fc.record({
  offset: anyNumber,
  length: anyNumber,
  access: fc.constantFrom('read', 'write', 'read-write', 'all'),
});

const anyStep = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({
      kind: fc.constant('invoke'),
      command: anyNumber,
      input: anyBytes,
      timeLimit: fc.option(fc.constantFrom(1000, 0, -1, 4e9), { nil: undefined }),
      lend: fc.array(anyLoan, { maxLength: 3 }),
      pal: fc.nat(3),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('quote'),
      nonce: anyBytes,
      pcrs: fc.array(anyNumber, { maxLength: 3 }),
      pal: fc.nat(3),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('garbage'), image: anyBytes }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('allocate'), size: anyNumber }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unregister'), pal: fc.nat(3) }) },
);
/** What a step gives, as if it were right. */
type Given = {
  readonly [name in 'command' | 'input' | 'timeLimit' | 'nonce' | 'pcrs' | 'image' | 'size' | 'pal']: never;
} & {
  readonly lend: readonly object[];
};
type Step = typeof anyStep extends fc.Arbitrary<infer T> ? T : never;

describe('a hostile application', () => {
  let trustvisor: Trustvisor;
  let good: Pal;
  let stale: Pal;
  const memories: SharedMemory[] = [];
  let pals: Pal[] = [];

  beforeAll(async () => {
    trustvisor = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true });
    good = await trustvisor.register(rogue());
    stale = await trustvisor.register(rogue({ version: 'stale' }));
    await stale.unregister();
  });
  afterAll(() => trustvisor.close());

  async function take(step: Step): Promise<unknown> {
    // The steps are wrong on purpose, so the compiler is not asked.
    const any = step as unknown as Given;
    const pal = pals[Number(any.pal) % pals.length] ?? stale;
    switch (step.kind) {
      case 'invoke': {
        const [memory] = memories;
        const lend = memory ? any.lend.map((loan) => ({ memory, ...loan })) : [];
        return pal.invoke(any.command, any.input, {
          lend,
          ...(any.timeLimit !== undefined && { timeLimit: any.timeLimit }),
        } as never);
      }
      case 'quote':
        return pal.quote(any.nonce, { pcrs: any.pcrs });
      case 'garbage':
        return trustvisor.register(any.image);
      case 'allocate': {
        const memory = await trustvisor.allocateShared(any.size);
        memories.unshift(memory);
        return memory;
      }
      case 'release':
        return memories.pop()?.release();
      default:
        pals = pals.filter((each) => each !== pal);
        return pal.unregister();
    }
  }

  it('gets an error at most from each of 1,000 random sequences of calls, and another PAL goes on', {
    timeout: 300_000,
  }, async () => {
    let refused = 0;
    let done = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 1, maxLength: 6 }), async (steps) => {
        if (pals.length < 2) pals = [await trustvisor.register(services()), stale];
        const results = await Promise.allSettled(steps.map((step) => take(step)));
        for (const result of results) {
          if (result.status === 'fulfilled') done++;
          else if (result.reason instanceof TrustvisorError) refused++;
          else throw result.reason;
        }
        for (const memory of memories.splice(2)) memory.release();
        expect((await good.invoke(ROGUE.echo, Uint8Array.of(1))).output).toEqual(Uint8Array.of(1));
      }),
      { numRuns: 1000 },
    );
    expect(Math.min(refused, done)).toBeGreaterThan(50);
    expect((await good.invoke(ROGUE.echo, NONE)).returnCode).toBe(1);
  });
});
