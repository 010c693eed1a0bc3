import { spawnSync } from 'node:child_process';
import { createHash, createVerify } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { measurePal, PAL_STATUS } from '@casemate/pal-linker';
import {
  extendPcr,
  publicKeySpki,
  signatureToDer,
  Tpm,
  TpmsAttest,
  TpmtPublic,
  verifyAttestSignature,
} from '@casemate/tpm';
import { decode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryStore, openTrustvisor, type Pal, type Trustvisor, type TrustvisorOptions } from '../src/index.js';
import { counter, ROGUE, rogue, SERVICE, services } from './pals.js';
import { remoteIsolate } from './streams.js';
import { hasSwtpm, type RunningTpm, startSwtpm, startUtpm } from './tpms.js';

const NONE = new Uint8Array(0);
const text = (value: string) => new TextEncoder().encode(value);
const sha256 = (...parts: readonly Uint8Array[]) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};
const upcr0 = (pal: Pal) => sha256(new Uint8Array(32), pal.measurement);
const hasTpmTools = process.env.MUST_RUN === '1' || spawnSync('tpm2_checkquote', ['--version']).status === 0;

async function withPal(
  pal: Pal,
  command: number,
  input: Uint8Array | number[] = NONE,
): Promise<{ code: number; output: Uint8Array }> {
  const { returnCode, output } = await pal.invoke(command, Uint8Array.from(input));
  return { code: returnCode, output };
}

describe.each([
  ['uTPM', startUtpm, true],
  ['swtpm', startSwtpm, hasSwtpm],
] as const)('Trustvisor on %s', (_, start, here) => {
  let running: RunningTpm;
  let trustvisor: Trustvisor;
  const store = memoryStore();
  const open = (more: Partial<TrustvisorOptions> = {}) => openTrustvisor({ tpm: running.transport, store, ...more });

  beforeAll(async () => {
    if (!here) return;
    running = await start();
    trustvisor = await open();
  });
  afterAll(async () => {
    if (!here) return;
    await trustvisor.close();
    await running.close();
  });

  it.runIf(here)('runs a PAL in a process of its own and gives what it returns', async () => {
    await using pal = await trustvisor.register(rogue());
    expect(trustvisor).toMatchObject({ engine: 'wasm', ephemeral: false });
    expect(trustvisor.pid).not.toBe(process.pid);
    expect(pal.measurement).toEqual(measurePal(rogue()));
    expect(await pal.invoke(ROGUE.echo, text('hello'))).toEqual({ returnCode: 1, output: text('hello') });
  });

  it.runIf(here)('measures the image into uPCR 0 and signs it with the identity key', async () => {
    await using pal = await trustvisor.register(services());
    expect(await withPal(pal, SERVICE.pcrRead, [0])).toEqual({ code: 0, output: upcr0(pal) });
    expect((await withPal(pal, SERVICE.pcrRead, [1])).output).toEqual(new Uint8Array(32));
    const nonce = text('a fresh nonce');
    const { quoted, signature } = await pal.quote(nonce);
    const identity = decode(TpmtPublic, pal.identity);
    expect(await verifyAttestSignature(identity, quoted, signature)).not.toBe(false);
    const attest = decode(TpmsAttest, quoted);
    expect(attest.extraData).toEqual(nonce);
    expect(attest.attested).toMatchObject({ pcrDigest: sha256(upcr0(pal)) });
  });

  it.runIf(here)('gives quotes that OpenSSL verifies, from the PAL and from the application', async () => {
    await using pal = await trustvisor.register(services());
    const spki = publicKeySpki(decode(TpmtPublic, pal.identity));
    const key = { key: Buffer.from(spki), format: 'der', type: 'spki' } as const;
    const { quoted, signature } = await pal.quote(text('n'), { pcrs: [0, 3] });
    const isGood = (data: Uint8Array, raw: Uint8Array) =>
      createVerify('sha256').update(data).verify(key, signatureToDer(raw));
    expect(isGood(quoted, signature)).toBe(true);
    expect(isGood(Uint8Array.of(...quoted, 0), signature)).toBe(false);
    const own = await withPal(pal, SERVICE.quote, [1, ...text('inside')]);
    expect(own.code).toBe(PAL_STATUS.SUCCESS);
    const length = new DataView(own.output.buffer, own.output.byteOffset).getUint32(0, true);
    expect(isGood(own.output.subarray(4, 4 + length), own.output.subarray(4 + length))).toBe(true);
    expect(decode(TpmsAttest, own.output.slice(4, 4 + length)).extraData).toEqual(text('inside'));
  });

  it.runIf(here)('quotes for the application though the call under way has to be stopped', async () => {
    await using pal = await trustvisor.register(rogue());
    const call = pal.invoke(ROGUE.loop, text(''), { timeLimit: 100 }).catch(({ code }) => code);
    const quote = pal.quote(text('n'));
    expect(await call).toBe('timeout');
    const { quoted, signature } = await quote;
    expect(verifyAttestSignature(decode(TpmtPublic, pal.identity), quoted, signature)).toBe(true);
  });

  it.runIf(here && hasTpmTools)('gives quotes that tpm2_checkquote verifies', async () => {
    await using pal = await trustvisor.register(services());
    const { quoted, signature } = await pal.quote(Uint8Array.of(1, 2, 3));
    const directory = await mkdtemp(join(tmpdir(), 'trustvisor-quote-'));
    try {
      const spki = Buffer.from(publicKeySpki(decode(TpmtPublic, pal.identity))).toString('base64');
      const pem = `-----BEGIN PUBLIC KEY-----\n${spki.replace(/(.{64})/g, '$1\n')}\n-----END PUBLIC KEY-----\n`;
      await writeFile(join(directory, 'key.pem'), pem);
      await writeFile(join(directory, 'quoted'), quoted);
      await writeFile(join(directory, 'signature'), signature);
      const check = (nonce: string) =>
        spawnSync(
          'tpm2_checkquote',
          ['-u', 'key.pem', '-m', 'quoted', '-s', 'signature', '-g', 'sha256', '-q', nonce],
          {
            cwd: directory,
          },
        ).status;
      expect(check('010203')).toBe(0);
      expect(check('010204')).not.toBe(0);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it.runIf(here)('seals to the PAL that asked, across a restart of the isolate, and tells who sealed', async () => {
    const first = await open();
    const pal = await first.register(services());
    const sealed = await withPal(pal, SERVICE.seal, text('secret'));
    expect(sealed.code).toBe(PAL_STATUS.SUCCESS);
    expect(Buffer.from(sealed.output).includes('secret')).toBe(false);
    const { identity } = pal;
    await first.close();
    await using second = await open();
    const again = await second.register(services());
    expect(again.identity).toEqual(identity);
    const opened = await withPal(again, SERVICE.unseal, sealed.output);
    expect(opened).toEqual({ code: 0, output: Uint8Array.of(...text('secret'), ...sha256(upcr0(again))) });
    const other = await second.register(services({ version: '2.0.0' }));
    expect((await withPal(other, SERVICE.unseal, sealed.output)).code).toBe(PAL_STATUS.REFUSED);
    expect(other.identity).not.toEqual(identity);
    const changed = sealed.output.slice();
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    expect((await withPal(again, SERVICE.unseal, changed)).code).toBe(PAL_STATUS.REFUSED);
  });

  it.runIf(here)('seals to another PAL, and to uPCRs as they are', async () => {
    await using from = await trustvisor.register(services());
    await using to = await trustvisor.register(services({ version: '2.0.0' }));
    const policy = [36, 1, 0, 0, 0, ...sha256(upcr0(to))];
    const sealed = await withPal(from, SERVICE.sealTo, [...policy, ...text('for you')]);
    expect(sealed.code).toBe(PAL_STATUS.SUCCESS);
    expect((await withPal(from, SERVICE.unseal, sealed.output)).code).toBe(PAL_STATUS.REFUSED);
    const opened = await withPal(to, SERVICE.unseal, sealed.output);
    expect(opened.output).toEqual(Uint8Array.of(...text('for you'), ...sha256(upcr0(from))));
    const bound = await withPal(to, SERVICE.sealTo, [4, 0b101, 0, 0, 0, ...text('to PCR 2')]);
    expect((await withPal(to, SERVICE.unseal, bound.output)).code).toBe(PAL_STATUS.SUCCESS);
    await withPal(to, SERVICE.pcrExtend, [2, ...new Uint8Array(32)]);
    expect((await withPal(to, SERVICE.unseal, bound.output)).code).toBe(PAL_STATUS.REFUSED);
    expect((await withPal(to, SERVICE.sealTo, [4, 0, 0, 0, 0])).code).toBe(PAL_STATUS.PCR_OUT_OF_RANGE);
    expect((await withPal(to, SERVICE.sealTo, [4, 0, 1, 0, 0])).code).toBe(PAL_STATUS.PCR_OUT_OF_RANGE);
    expect((await withPal(to, SERVICE.sealTo, [3, 1, 0, 0])).code).toBe(PAL_STATUS.BAD_PARAM);
  });

  it.runIf(here)('extends uPCRs, gives random bytes and time, and has no state for an unprotected PAL', async () => {
    await using pal = await trustvisor.register(services());
    expect((await withPal(pal, SERVICE.pcrExtend, [5, ...new Uint8Array(32).fill(9)])).code).toBe(0);
    const expected = sha256(new Uint8Array(32), new Uint8Array(32).fill(9));
    expect((await withPal(pal, SERVICE.pcrRead, [5])).output).toEqual(expected);
    expect((await withPal(pal, SERVICE.pcrRead, [8])).code).toBe(PAL_STATUS.PCR_OUT_OF_RANGE);
    expect((await withPal(pal, SERVICE.pcrExtend, [8, ...new Uint8Array(32)])).code).toBe(PAL_STATUS.PCR_OUT_OF_RANGE);
    const random = [
      await withPal(pal, SERVICE.random, [32, 0, 0, 0]),
      await withPal(pal, SERVICE.random, [32, 0, 0, 0]),
    ];
    expect(random[0]?.output).not.toEqual(random[1]?.output);
    expect((await withPal(pal, SERVICE.random, [1, 16, 0, 0])).code).toBe(PAL_STATUS.BAD_PARAM);
    const times = [await withPal(pal, SERVICE.time), await sleep(20), await withPal(pal, SERVICE.time)];
    const micros = [times[0], times[2]].map((time) =>
      time ? new DataView(time.output.buffer, time.output.byteOffset).getBigUint64(8, true) : 0n,
    );
    expect(Number((micros[1] ?? 0n) - (micros[0] ?? 0n))).toBeGreaterThan(19_000);
    expect((await withPal(pal, SERVICE.stateRead)).code).toBe(PAL_STATUS.UNAVAILABLE);
    expect((await withPal(pal, SERVICE.stateWrite)).code).toBe(PAL_STATUS.UNAVAILABLE);
    expect(await withPal(pal, SERVICE.identity)).toEqual({ code: 0, output: pal.identity });
  });

  it.runIf(here)(
    'runs PALs side by side: one that loops is stopped, the others and the application go on',
    async () => {
      await using looping = await trustvisor.register(rogue());
      await using other = await trustvisor.register(rogue({ version: '2.0.0' }));
      let ticks = 0;
      const timer = setInterval(() => ticks++, 10);
      const end = looping.invoke(ROGUE.loop, NONE, { timeLimit: 500 }).catch((error) => error);
      for (let i = 0; i < 20; i++) await other.invoke(ROGUE.echo, text('on'));
      expect(await end).toMatchObject({ code: 'timeout' });
      clearInterval(timer);
      expect(ticks).toBeGreaterThan(20);
      expect((await looping.invoke(ROGUE.count, NONE)).returnCode).toBe(1);
    },
  );

  it.runIf(here)('ends a PAL that traps with a typed fault, and starts it afresh: memory and uPCRs', async () => {
    await using pal = await trustvisor.register(rogue());
    await pal.invoke(ROGUE.count, NONE);
    await expect(pal.invoke(ROGUE.outOfBounds, NONE)).rejects.toMatchObject({ code: 'fault', fault: 'out-of-bounds' });
    await expect(pal.invoke(ROGUE.recurse, NONE)).rejects.toMatchObject({ code: 'fault', fault: 'stack-overflow' });
    expect((await pal.invoke(ROGUE.count, NONE)).returnCode).toBe(1);
  });

  it.runIf(here)('refuses the same TPM with another PCR value, and with its index gone', async () => {
    await expect(open({ pcrs: [7, 8] })).rejects.toMatchObject({ code: 'refused' });
    await expect(open({ nvBase: 0x0180d000 })).rejects.toMatchObject({ code: 'refused', message: /index.*gone/ });
    const fresh = await open({ nvBase: 0x0180d000, store: memoryStore(), pcrs: [16] });
    await fresh.close();
    await extendPcr(new Tpm(running.transport), 16, { sha256: new Uint8Array(32) });
    const denied = open({ nvBase: 0x0180d000, store: memoryStore(), pcrs: [16] });
    await expect(denied).rejects.toMatchObject({ code: 'refused', message: /PCR/ });
  });
});

describe('Trustvisor', () => {
  const ephemeral = (more: Partial<TrustvisorOptions> = {}) =>
    openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true, ...more });

  it('is refused without a TPM, unless the caller asks for an ephemeral one by its name', async () => {
    await expect(openTrustvisor({ store: memoryStore() })).rejects.toMatchObject({ code: 'refused' });
    await using trustvisor = await ephemeral();
    expect(trustvisor.ephemeral).toBe(true);
    await expect(trustvisor.register(counter())).rejects.toMatchObject({ code: 'refused', message: /TPM/ });
  });

  it('is refused with a TPM that fails, even where an ephemeral one is allowed', async () => {
    const tpm = { send: () => Promise.reject(new Error('no power')), close: async () => undefined };
    await expect(ephemeral({ tpm })).rejects.toMatchObject({ code: 'tpm', message: /no power/ });
  });

  it('is refused with no PCRs, and with PCRs that there are not', async () => {
    const tpm = { send: () => Promise.reject(new Error('must not be asked')), close: async () => undefined };
    await expect(ephemeral({ tpm, pcrs: [] })).rejects.toMatchObject({ code: 'refused' });
    await expect(ephemeral({ tpm, pcrs: [24] })).rejects.toMatchObject({ code: 'input' });
    await expect(ephemeral({ tpm, pcrs: [7, 7] })).rejects.toMatchObject({ code: 'input' });
  });

  it('refuses what is no image, an image of another kind, and one that asks for too much memory', async () => {
    await using trustvisor = await ephemeral({ memoryLimit: 1024 * 1024 });
    await expect(trustvisor.register(text('no image'))).rejects.toMatchObject({ code: 'refused' });
    const elf = rogue();
    elf[6] = 2;
    await expect(trustvisor.register(elf)).rejects.toMatchObject({ code: 'unsupported-engine' });
    await expect(trustvisor.register(rogue({ memoryPages: 16 }))).rejects.toMatchObject({ code: 'memory' });
    await using pal = await trustvisor.register(rogue({ memoryPages: 15 }));
    expect(pal.name).toBe('test');
  });

  it('takes no input above the capacity, and no arguments that are not u32', async () => {
    await using trustvisor = await ephemeral();
    await using pal = await trustvisor.register(rogue({ inputCapacity: 8 }));
    await expect(pal.invoke(ROGUE.echo, new Uint8Array(9))).rejects.toMatchObject({ code: 'input' });
    expect((await pal.invoke(ROGUE.echo, new Uint8Array(8))).output).toHaveLength(8);
    for (const command of [-1, 1.5, 2 ** 32, Number.NaN]) {
      await expect(pal.invoke(command, NONE)).rejects.toMatchObject({ code: 'input' });
    }
    await expect(pal.invoke(0, NONE, { timeLimit: 0 })).rejects.toMatchObject({ code: 'input' });
    await expect(pal.quote(new Uint8Array(65))).rejects.toMatchObject({ code: 'input' });
    await expect(pal.quote(NONE, { pcrs: [] })).rejects.toMatchObject({ code: 'input' });
  });

  it('gives up a call when its signal fires, waiting or running', async () => {
    await using trustvisor = await ephemeral();
    await using pal = await trustvisor.register(rogue());
    const [running, waiting] = [new AbortController(), new AbortController()];
    const first = pal.invoke(ROGUE.loop, NONE, { signal: running.signal }).catch((error) => error);
    const second = pal.invoke(ROGUE.echo, NONE, { signal: waiting.signal }).catch((error) => error);
    await sleep(100);
    waiting.abort();
    running.abort();
    expect([(await first).code, (await second).code]).toEqual(['aborted', 'aborted']);
    await expect(pal.invoke(ROGUE.echo, NONE, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'aborted',
    });
    expect((await pal.invoke(ROGUE.echo, NONE)).returnCode).toBe(1);
  });

  it('lets at most 64 calls of a PAL wait', async () => {
    await using trustvisor = await ephemeral();
    await using pal = await trustvisor.register(rogue());
    const first = pal.invoke(ROGUE.loop, NONE, { timeLimit: 1000 }).catch((error) => error.code);
    const calls = Array.from({ length: 70 }, () =>
      pal
        .invoke(ROGUE.echo, NONE)
        .then(() => 'ok')
        .catch((error) => error.code),
    );
    const results = await Promise.all([first, ...calls]);
    const count = (what: string) => results.filter((result) => result === what).length;
    expect([count('timeout'), count('ok'), count('busy')]).toEqual([1, 63, 7]);
  });

  it('forgets a PAL that is unregistered, in the middle of a call too', async () => {
    await using trustvisor = await ephemeral();
    const pal = await trustvisor.register(rogue());
    const call = pal.invoke(ROGUE.loop, NONE).catch((error) => error);
    await sleep(100);
    await pal.unregister();
    await pal.unregister();
    expect(await call).toMatchObject({ code: 'aborted' });
    await expect(pal.invoke(ROGUE.echo, NONE)).rejects.toMatchObject({ code: 'closed' });
  });

  it("passes on what a PAL prints, with the PAL's name", async () => {
    const lines: string[] = [];
    await using trustvisor = await ephemeral({ onPrint: (pal, line) => lines.push(`${pal.name}: ${line}`) });
    await using pal = await trustvisor.register(rogue({ name: 'speaker' }));
    await pal.invoke(ROGUE.print, text('hello'));
    expect(lines).toEqual(['speaker: hello']);
  });

  it('fails calls with closed when the isolate is killed', async () => {
    const trustvisor = await ephemeral();
    const pal = await trustvisor.register(rogue());
    const call = pal.invoke(ROGUE.loop, NONE).catch((error) => error);
    await sleep(50);
    process.kill(trustvisor.pid ?? 0, 'SIGKILL');
    expect(await call).toMatchObject({ code: 'closed' });
    await expect(pal.invoke(ROGUE.echo, NONE)).rejects.toMatchObject({ code: 'closed' });
    await trustvisor.close();
  });

  it('runs its isolate with nothing inherited: no environment, a session of its own, no files but its own code', async () => {
    await using trustvisor = await ephemeral();
    const proc = `/proc/${trustvisor.pid}`;
    expect(trustvisor.isHidden).toBe(process.platform === 'linux');
    if (process.getuid?.() === 0) expect(await readFile(`${proc}/environ`, 'latin1')).toBe('');
    const stat = await readFile(`${proc}/stat`, 'latin1');
    const session = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3];
    expect(Number(session)).toBe(trustvisor.pid);
    const command = (await readFile(`${proc}/cmdline`, 'latin1')).split('\0');
    expect(command.some((flag) => /^--(experimental-)?permission$/.test(flag))).toBe(true);
    const flags = command.filter((each) => each.startsWith('--'));
    const probe = spawnSync(process.execPath, [...flags, '-e', 'require("fs").readFileSync("/etc/hostname")']);
    expect(probe.stderr.toString()).toMatch(/ERR_ACCESS_DENIED/);
    const child = spawnSync(process.execPath, [...flags, '-e', 'require("child_process").execSync("id")']);
    expect(child.stderr.toString()).toMatch(/ERR_ACCESS_DENIED/);
  });

  it('speaks with an isolate at the other end of a network connection', async () => {
    const { isolate, ended } = await remoteIsolate();
    const trustvisor = await ephemeral({ isolate });
    expect(trustvisor.pid).toBeUndefined();
    const pal = await trustvisor.register(rogue());
    expect((await pal.invoke(ROGUE.echo, text('far away'))).output).toEqual(text('far away'));
    await trustvisor.close();
    await ended;
  });

  it('carries a megabyte in and out', async () => {
    await using trustvisor = await ephemeral();
    const size = 1024 * 1024;
    await using pal = await trustvisor.register(rogue({ inputCapacity: size, outputCapacity: size }));
    const input = new Uint8Array(size).map((_, i) => i * 31);
    expect(Buffer.compare((await pal.invoke(ROGUE.echo, input)).output, input)).toBe(0);
  });
});
