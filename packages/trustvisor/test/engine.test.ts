import { PAL_STATUS, parsePalImage } from '@casemate/pal-linker';
import { afterEach, describe, expect, it } from 'vitest';
import { Lanes } from '../src/lanes.js';
import type { ServiceCall } from '../src/service-plan.js';
import { WasmPal } from '../src/wasm-engine.js';
import { link, ROGUE, rogue, SERVICE, services } from './pals.js';

const ENGINES = {
  workerUrl: new URL('../dist/pal-worker.js', import.meta.url),
  arena: undefined,
  lanes: new Lanes([]),
};
const WITHOUT_LANES = { lane: () => undefined, laneFailed: async () => new Uint8Array(0) };
const NONE = new Uint8Array(0);
const text = (value: string) => new TextEncoder().encode(value);

const open: WasmPal[] = [];
const printed: string[] = [];
const calls: ServiceCall[] = [];

function load(image: Uint8Array): WasmPal {
  const pal = new WasmPal(parsePalImage(image), ENGINES, {
    service: async (call) => {
      calls.push(call);
      return { status: PAL_STATUS.SUCCESS, outputs: [text('from the other side'), new Uint8Array(32)] };
    },
    print: (line) => printed.push(line),
    ...WITHOUT_LANES,
  });
  open.push(pal);
  return pal;
}

const run = (pal: WasmPal, command: number, input = NONE, timeLimit = 5000, signal?: AbortSignal) =>
  pal.run({ command, input, state: NONE, lent: [], timeLimit, signal });

afterEach(async () => {
  await Promise.all(open.splice(0).map((pal) => pal.close()));
  printed.length = 0;
  calls.length = 0;
});

describe('the engine wasm', () => {
  it('gives the input to the PAL behind its header and takes the output from behind its header', async () => {
    const outcome = await run(load(rogue()), ROGUE.echo, text('hello'));
    expect(outcome).toMatchObject({ kind: 'returned', returnCode: 1, output: text('hello') });
  });

  it('keeps the memory of a PAL from call to call', async () => {
    const pal = load(rogue());
    const codes = [];
    for (let i = 0; i < 3; i++) codes.push((await run(pal, ROGUE.count)) as { returnCode: number });
    expect(codes.map(({ returnCode }) => returnCode)).toEqual([1, 2, 3]);
  });

  it.each([
    ['unreachable', 'unreachable'],
    ['outOfBounds', 'out-of-bounds'],
    ['divide', 'division'],
    ['recurse', 'stack-overflow'],
    ['indirect', 'indirect-call'],
    ['convert', 'conversion'],
    ['malformed', 'malformed-output'],
  ] as const)(
    'ends a PAL that does %s with the fault %s, and the next call starts from fresh memory',
    async (name, fault) => {
      const pal = load(rogue());
      await run(pal, ROGUE.count);
      expect(await run(pal, ROGUE[name])).toMatchObject({ kind: 'fault', fault });
      expect(await run(pal, ROGUE.count)).toMatchObject({ kind: 'returned', returnCode: 1 });
    },
  );

  it('stops an endless loop when its time is up, while another PAL goes on', async () => {
    const [looping, other] = [load(rogue()), load(rogue())];
    const started = performance.now();
    const end = run(looping, ROGUE.loop, NONE, 300).catch((error) => error);
    expect(await run(other, ROGUE.echo, text('still here'))).toMatchObject({ output: text('still here') });
    expect(await end).toMatchObject({ name: 'TrustvisorError', code: 'timeout' });
    expect(performance.now() - started).toBeLessThan(3000);
    expect(await run(looping, ROGUE.echo, text('again'))).toMatchObject({ output: text('again') });
  });

  it('stops a PAL that calls services without end when its time is up, while another PAL goes on', async () => {
    const asking = new WasmPal(parsePalImage(rogue()), ENGINES, {
      service: () => ({ status: PAL_STATUS.SUCCESS, outputs: [new Uint8Array(32)] }),
      print: () => undefined,
      ...WITHOUT_LANES,
    });
    open.push(asking);
    const end = run(asking, ROGUE.askForever, NONE, 300).catch((error) => error);
    expect(await run(load(rogue()), ROGUE.echo, text('still here'))).toMatchObject({ output: text('still here') });
    expect(await end).toMatchObject({ name: 'TrustvisorError', code: 'timeout' });
    expect(await run(asking, ROGUE.echo, text('again'))).toMatchObject({ output: text('again') });
  });

  it('stops a run that its caller gives up', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 100);
    await expect(run(load(rogue()), ROGUE.loop, NONE, 5000, controller.signal)).rejects.toMatchObject({
      code: 'aborted',
    });
  });

  it('lets memory grow to its limit and no further', async () => {
    expect(await run(load(rogue()), ROGUE.exhaust)).toMatchObject({ kind: 'returned', returnCode: 4 });
  });

  it('passes on what the PAL prints', async () => {
    await run(load(rogue()), ROGUE.print, text('a line'));
    expect(printed).toEqual(['a line']);
  });

  it('hands a service call over without pointers, and writes what comes back', async () => {
    const outcome = await run(load(services()), SERVICE.seal, text('secret'));
    expect(calls).toEqual([{ name: 'utpm_seal', values: [], inputs: [text('secret'), NONE] }]);
    expect(outcome).toMatchObject({ returnCode: 0, output: text('from the other side') });
  });

  it('refuses a module that is not WebAssembly inside', async () => {
    // The linker copies data sections as they are; the engine is what validates them.
    const broken = link(
      '(module (memory 1) (data (i32.const 0) "x") (func (export "pal") (param i32 i32 i32 i32)))',
      {},
    );
    const image = parsePalImage(broken);
    const [code, ...others] = image.sections;
    if (code === undefined) throw new Error('expected a section');
    const pal = new WasmPal(
      { ...image, sections: [{ ...code, content: code.content.subarray(0, -1) }, ...others] },
      ENGINES,
      { service: async () => ({ status: 0, outputs: [] }), print: () => undefined, ...WITHOUT_LANES },
    );
    await expect(pal.load(1000)).rejects.toMatchObject({ code: 'refused' });
  });
});
