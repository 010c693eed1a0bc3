import { PAL_STATUS, parsePalImage } from '@casemate/pal-linker';
import { TpmtPublic, verifyAttestSignature } from '@casemate/tpm';
import { decode } from '@casemate/wire';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import loadWabt from 'wabt';
import type { EngineHost } from '../src/engine.js';
import type { HostCall } from '../src/host-services.js';
import { Lanes } from '../src/lanes.js';
import { ThreadStock } from '../src/pal-thread.js';
import { WasmPal } from '../src/wasm-engine.js';
import { link, palOf, ROGUE, rogue, SERVICE, services } from './pals.js';
import { servicesStart } from './services-start.js';

const wabt = await loadWabt();
const COUNTER_IMPORT = '(import "trustvisor" "counter_read" (func $counter (param i32) (result i32)))';
const ENGINES = {
  threads: new ThreadStock(new URL('../dist/pal-worker.js', import.meta.url)),
  arena: undefined,
  lanes: new Lanes([]),
};
const NONE = new Uint8Array(0);
const text = (value: string) => new TextEncoder().encode(value);

const open: WasmPal[] = [];
const printed: string[] = [];
const calls: HostCall[] = [];
const HOST: EngineHost = {
  services: () => servicesStart('test'),
  service: async (call) => {
    calls.push(call);
    return { status: PAL_STATUS.SUCCESS, outputs: [text('elsewhr.')] };
  },
  print: (line) => printed.push(line),
  lane: () => undefined,
};

function load(image: Uint8Array): WasmPal {
  const pal = new WasmPal(parsePalImage(image), ENGINES, HOST);
  open.push(pal);
  return pal;
}

const run = (pal: WasmPal, command: number, input = NONE, timeLimit = 5000, signal?: AbortSignal) =>
  pal.run({ command, input, state: NONE, lent: [], timeLimit, signal });

afterAll(() => ENGINES.threads.close());
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
    const asking = load(rogue());
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

  it('performs services in the thread of the PAL, and asks elsewhere for what waits', async () => {
    const pal = load(services());
    const sealed = await run(pal, SERVICE.seal, text('secret'));
    expect(sealed).toMatchObject({ returnCode: 0 });
    expect(await run(pal, SERVICE.unseal, new Uint8Array((sealed as { output: Uint8Array }).output))).toMatchObject({
      returnCode: 0,
    });
    expect(calls).toEqual([]);
    const counting = load(palOf(['(call $end (i32.const 8) (call $counter (call $out)))'], {}, '', COUNTER_IMPORT));
    expect(await run(counting, 0)).toMatchObject({ returnCode: 0, output: text('elsewhr.') });
    expect(calls).toEqual([{ kind: 'nv', call: { name: 'counter_read', values: [], inputs: [] } }]);
  });

  it('ends a PAL that leaves no room on the stack for its services, which are then as new', async () => {
    const pal = load(rogue());
    expect(await run(pal, ROGUE.askDeeper)).toMatchObject({ kind: 'fault', fault: 'stack-overflow' });
    expect(await run(pal, ROGUE.pcr)).toMatchObject({ returnCode: 0, output: new Uint8Array(32) });
    expect(await pal.quote(NONE, 1)).toMatchObject({ signature: expect.any(Uint8Array) });
  });

  it('quotes after a PAL that had to be stopped, with the same identity', async () => {
    const pal = load(rogue());
    const identity = await pal.load(5000);
    await expect(run(pal, ROGUE.loop, NONE, 100)).rejects.toMatchObject({ code: 'timeout' });
    const { quoted, signature } = await pal.quote(text('nonce'), 1);
    expect(verifyAttestSignature(decode(TpmtPublic, identity), quoted, signature)).toBe(true);
    expect(await pal.load(5000)).toEqual(identity);
  });

  it('leaves nothing of the secrets where it took them over', async () => {
    const start = servicesStart('test');
    const pal = new WasmPal(parsePalImage(rogue()), ENGINES, { ...HOST, services: () => start });
    open.push(pal);
    expect(new Uint8Array(start.secrets)).not.toEqual(new Uint8Array(128));
    await pal.load(5000);
    expect(new Uint8Array(start.secrets)).toEqual(new Uint8Array(128));
  });

  it('holds the limit of the header where the module asks for more, at the start or later', async () => {
    const image = parsePalImage(
      link('(module (memory (export "memory") 1) (func (export "pal") (param i32 i32 i32 i32)))'),
    );
    const [code, ...others] = image.sections;
    if (code === undefined) throw new Error('expected a section');
    const withModule = (text: string) => {
      const parsed = wabt.parseWat('evil.wat', text);
      return { ...image, sections: [{ ...code, content: parsed.toBinary({}).buffer }, ...others] };
    };
    const greedy = (first: number) =>
      withModule(`(module (memory (export "memory") ${first} 65536) (func (export "pal") (param i32 i32 i32 i32)
        (loop $l (br_if $l (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
        (i32.store (local.get 3) (memory.size))))`);
    expect(() => new WasmPal(greedy(1000), ENGINES, HOST)).toThrowError(expect.objectContaining({ code: 'memory' }));
    const pal = new WasmPal(greedy(5), ENGINES, HOST);
    open.push(pal);
    const { returnCode } = (await run(pal, 0)) as { returnCode: number };
    expect(returnCode).toBeGreaterThan(4096); // what is lent has room there
    expect(returnCode).toBeLessThan(4096 + 16);
    const none = withModule('(module (func (export "pal") (param i32 i32 i32 i32)))');
    expect(() => new WasmPal(none, ENGINES, HOST)).toThrow(/one section of memories/);
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
    const withCode = (content: Uint8Array) => ({ ...image, sections: [{ ...code, content }, ...others] });
    expect(() => new WasmPal(withCode(code.content.subarray(0, -1)), ENGINES, HOST)).toThrow(/cut off/);
    const pal = new WasmPal(withCode(code.content.with(8, 0x7f)), ENGINES, HOST); // no section has that number
    open.push(pal);
    await expect(pal.load(1000)).rejects.toMatchObject({ code: 'refused' });
  });
});
