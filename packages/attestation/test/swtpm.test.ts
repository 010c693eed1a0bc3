import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEventLog, replayEventLog } from '@casemate/firmware';
import { encodePem } from '@casemate/pki';
import { extendPcr, publicKeySpki, readPcrs, Startup, TPM_SU, TpmError } from '@casemate/tpm';
import { sha256 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import {
  AttestationError,
  collectEvidence,
  type Evidence,
  encodeEvidence,
  evidenceNonce,
  type LogStore,
  measure,
  openMeasurementLog,
  parseEvidence,
  type Statement,
  validateEvidence,
  verdict,
  verifyEvidence,
} from '../src/index.js';
import { hex, toBase64 } from '../src/octets.js';
import {
  acceptingPolicy,
  createPki,
  createPlatform,
  NONCE,
  NOW,
  type Pki,
  type Platform,
  readConfiguration,
  startPal,
  versionOf,
} from './platform.js';
import { has, startSwtpm } from './swtpm.js';

let hierarchyOfThisRun: Promise<Pki> | undefined;
const once = () => (hierarchyOfThisRun ??= createPki());

const withoutSwtpm = !has('swtpm');
const withoutTools = withoutSwtpm || !has('tpm2_checkquote');

async function judge({ pki }: Platform, evidence: Evidence) {
  const options = { anchors: pki.anchors, nonce: NONCE, time: NOW, readConfiguration };
  const { checks, claims } = await verifyEvidence(evidence, options);
  return verdict([...checks, ...validateEvidence(claims, acceptingPolicy())]);
}

const statement = (version: number): Statement => ({
  type: 'guestos',
  name: 'edge',
  version,
  configDigest: new Uint8Array(32).fill(version),
  imageDigest: new Uint8Array(32),
});

/** A store in memory that can lose power: from then on it keeps what it has. */
function memoryStore(): LogStore & { bytes: Uint8Array | undefined } {
  return {
    bytes: undefined,
    async read() {
      return this.bytes;
    },
    async write(bytes) {
      this.bytes = bytes;
    },
  };
}

async function codeOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (error instanceof AttestationError || error instanceof TpmError) return `${error.name} ${error.code}`;
    throw error;
  }
  return 'none';
}

describe.skipIf(withoutSwtpm)('on swtpm (skipped where it is not installed)', () => {
  it.each(['ecc-p256', 'rsa-2048'] as const)(
    'a device with %s keys collects evidence that is trusted',
    async (kind) => {
      await using platformTpm = await startSwtpm();
      await using microTpm = await startSwtpm();
      const pki = await once();
      const platform = await createPlatform(pki, platformTpm.tpm, await startPal(microTpm.tpm, kind), kind);
      const evidence = await collectEvidence(platform.tpm, platform.options);
      const json = encodeEvidence(evidence);
      expect(await judge(platform, parseEvidence(json))).toEqual({ trusted: true, failed: [] });
      if (process.env.RECORD_VECTORS === '1') await record(kind.slice(0, 3), json);
    },
  );

  it('a device that found its sealed state forged is not trusted, and says why', async () => {
    await using platformTpm = await startSwtpm();
    await using microTpm = await startSwtpm();
    const platform = await createPlatform(await createPki(), platformTpm.tpm, await startPal(microTpm.tpm));
    const failures = [{ name: 'sealed-state', detail: 'the seal does not open' }] as const;
    const evidence = await collectEvidence(platform.tpm, { ...platform.options, failures, passed: ['replay'] });
    expect(await judge(platform, evidence)).toEqual({ trusted: false, failed: ['sealed-state'] });
  });

  it('a PAL vouches for its own output through PCR 1 of its micro-TPM, and for no other', async () => {
    await using platformTpm = await startSwtpm();
    await using microTpm = await startSwtpm();
    const pal = await startPal(microTpm.tpm);
    const platform = await createPlatform(await createPki(), platformTpm.tpm, pal);
    const output = new TextEncoder().encode('counter=2');
    const collect = (given: Uint8Array) =>
      collectEvidence(platform.tpm, { ...platform.options, pals: [{ pal, output: given, outputBy: 'pal' }] });
    expect((await judge(platform, await collect(output))).failed).toEqual(['pal']);
    await extendPcr(microTpm.tpm, 1, { sha256: sha256(output) });
    expect(await judge(platform, await collect(output))).toEqual({ trusted: true, failed: [] });
    expect((await judge(platform, await collect(new Uint8Array(1)))).failed).toEqual(['pal']);
    // Claiming for the PAL what only the platform vouches for does not pass.
    const weak = await collectEvidence(platform.tpm, { ...platform.options, pals: [{ pal, output }] });
    const claimed = { ...weak, pals: weak.pals.map((each) => ({ ...each, outputBy: 'pal' as const })) };
    expect((await judge(platform, weak)).failed).toEqual([]);
    expect((await judge(platform, claimed)).failed).toEqual(['pal']);
  });

  it('a nonce of the wrong length is refused before anything is quoted', async () => {
    await using platformTpm = await startSwtpm();
    await using microTpm = await startSwtpm();
    const platform = await createPlatform(await createPki(), platformTpm.tpm, await startPal(microTpm.tpm));
    const short = { ...platform.options, nonce: new Uint8Array(15) };
    expect(await codeOf(() => collectEvidence(platform.tpm, short))).toBe('AttestationError bad-input');
  });
});

describe.skipIf(withoutSwtpm)('the measurement log on swtpm (skipped where it is not installed)', () => {
  it('extends every bank of the TPM and replays to its PCRs', async () => {
    await using swtpm = await startSwtpm();
    const log = await openMeasurementLog(swtpm.tpm);
    await Promise.all([1, 2, 3].map((version) => measure(swtpm.tpm, log, { statement: statement(version) })));
    expect(log.banks).toEqual(['sha1', 'sha256', 'sha384', 'sha512']);
    expect(log.measurements.map(({ statement }) => versionOf(statement))).toEqual([1, 2, 3]);
    const replayed = replayEventLog(parseEventLog(log.bytes()));
    const selection = Object.fromEntries(log.banks.map((bank) => [bank, [11]]));
    expect(replayed).toEqual(await readPcrs(swtpm.tpm, selection));
  });

  it('is taken up where an earlier program left it', async () => {
    await using swtpm = await startSwtpm();
    const store = memoryStore();
    const first = await openMeasurementLog(swtpm.tpm, { store });
    await measure(swtpm.tpm, first, { statement: statement(1) });
    const second = await openMeasurementLog(swtpm.tpm, { store });
    expect([second.recovery, second.measurements.length]).toEqual(['none', 1]);
    await measure(swtpm.tpm, second, { statement: statement(2) });
    expect((await openMeasurementLog(swtpm.tpm, { store })).measurements.length).toBe(2);
  });

  it('loses an event that was written before a crash, but never extended', async () => {
    await using swtpm = await startSwtpm();
    const store = memoryStore();
    const log = await openMeasurementLog(swtpm.tpm, { store });
    await measure(swtpm.tpm, log, { statement: statement(1) });
    const crash = log.append(statement(2), () => Promise.reject(new Error('power lost')));
    await expect(crash).rejects.toThrow('power lost');
    expect(await codeOf(() => measure(swtpm.tpm, log, { statement: statement(3) }))).toBe('AttestationError unsettled');
    const again = await openMeasurementLog(swtpm.tpm, { store });
    expect([again.recovery, again.measurements.length]).toEqual(['event-dropped', 1]);
    await measure(swtpm.tpm, again, { statement: statement(3) });
    const last = await openMeasurementLog(swtpm.tpm, { store });
    expect([last.recovery, ...last.measurements.map((each) => versionOf(each.statement))]).toEqual(['none', 1, 3]);
  });

  it('keeps an event that was extended before a crash', async () => {
    await using swtpm = await startSwtpm();
    const store = memoryStore();
    const log = await openMeasurementLog(swtpm.tpm, { store });
    const crash = log.append(statement(1), async (pcr, digests) => {
      await extendPcr(swtpm.tpm, pcr, digests);
      throw new Error('power lost');
    });
    await expect(crash).rejects.toThrow('power lost');
    const again = await openMeasurementLog(swtpm.tpm, { store });
    expect([again.recovery, again.measurements.length]).toEqual(['none', 1]);
  });

  it('goes on after a refusal by the TPM, for nothing was extended then', async () => {
    await using swtpm = await startSwtpm();
    const store = memoryStore();
    const log = await openMeasurementLog(swtpm.tpm, { store });
    // PCR 17 may not be extended from locality 0.
    const refused = log.append(statement(1), (_, digests) => extendPcr(swtpm.tpm, 17, digests));
    expect(await codeOf(() => refused)).toBe('TpmError response');
    await measure(swtpm.tpm, log, { statement: statement(2) });
    const again = await openMeasurementLog(swtpm.tpm, { store });
    expect([again.recovery, ...again.measurements.map((each) => versionOf(each.statement))]).toEqual(['none', 2]);
  });

  it('begins anew when the TPM was reset', async () => {
    await using swtpm = await startSwtpm();
    const store = memoryStore();
    const log = await openMeasurementLog(swtpm.tpm, { store });
    await measure(swtpm.tpm, log, { statement: statement(1) });
    await measure(swtpm.tpm, log, { statement: statement(2) });
    await swtpm.transport.control.initialize();
    await swtpm.tpm.execute(Startup, { startupType: TPM_SU.CLEAR });
    const again = await openMeasurementLog(swtpm.tpm, { store });
    expect([again.recovery, again.measurements.length]).toEqual(['tpm-reset', 0]);
  });

  it('does not open on a TPM that someone else extended', async () => {
    await using swtpm = await startSwtpm();
    const store = memoryStore();
    const log = await openMeasurementLog(swtpm.tpm, { store });
    await measure(swtpm.tpm, log, { statement: statement(1) });
    await extendPcr(swtpm.tpm, 12, { sha256: new Uint8Array(32) });
    expect(await codeOf(() => openMeasurementLog(swtpm.tpm, { store }))).toBe('AttestationError log-mismatch');
    expect(await codeOf(() => openMeasurementLog(swtpm.tpm))).toBe('AttestationError log-mismatch');
  });

  it('writes nothing to the TPM where the store fails', async () => {
    await using swtpm = await startSwtpm();
    const store: LogStore = { read: async () => undefined, write: () => Promise.reject(new Error('disk full')) };
    const log = await openMeasurementLog(swtpm.tpm, { store });
    await expect(measure(swtpm.tpm, log, { statement: statement(1) })).rejects.toThrow('disk full');
    const { sha256 } = await readPcrs(swtpm.tpm, { sha256: [11] });
    expect(sha256?.[11]).toEqual(new Uint8Array(32));
  });
});

describe.skipIf(withoutTools)('tpm2-tools (skipped where it is not installed)', () => {
  it('tpm2_eventlog computes from our log the PCRs that the TPM has', async () => {
    await using swtpm = await startSwtpm();
    const log = await openMeasurementLog(swtpm.tpm);
    await measure(swtpm.tpm, log, { statement: statement(1) });
    const pal = { name: 'p', version: '1', measurement: new Uint8Array(32), identityKey: new Uint8Array(40) };
    await measure(swtpm.tpm, log, { statement: { type: 'pal', ...pal } });
    const printed = inDirectory((dir) => {
      writeFileSync(join(dir, 'log'), log.bytes());
      return execFileSync('tpm2_eventlog', [join(dir, 'log')], { encoding: 'utf8' });
    });
    const values = await readPcrs(swtpm.tpm, Object.fromEntries(log.banks.map((bank) => [bank, [11, 12]])));
    for (const bank of ['sha1', 'sha256', 'sha384', 'sha512'] as const) {
      const section = printed.slice(printed.indexOf(`\n  ${bank}:\n`, printed.indexOf('\npcrs:')));
      for (const index of [11, 12]) {
        const found = new RegExp(`^ {4}${index} +: 0x([0-9a-f]+)$`, 'm').exec(section)?.[1];
        expect(`${bank}:${index} ${found}`).toBe(`${bank}:${index} ${hex(values[bank]?.[index] ?? new Uint8Array(0))}`);
      }
    }
  });

  it.each(['ecc-p256', 'rsa-2048'] as const)('tpm2_checkquote accepts and refuses %s quotes as we do', async (kind) => {
    await using platformTpm = await startSwtpm();
    await using microTpm = await startSwtpm();
    const platform = await createPlatform(await createPki(), platformTpm.tpm, await startPal(microTpm.tpm, kind), kind);
    const evidence = await collectEvidence(platform.tpm, platform.options);
    const key = publicKeySpki(platform.ak.public);
    const qualifyingData = evidenceNonce(NONCE, evidence);
    expect(checkQuote(evidence, key, qualifyingData)).toBe(true);

    const { quote } = evidence;
    const flip = (bytes: Uint8Array) => bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte));
    const pcrs = { ...quote.pcrs, sha256: { ...quote.pcrs.sha256, 12: new Uint8Array(32) } };
    for (const change of [{ quoted: flip(quote.quoted) }, { signature: flip(quote.signature) }, { pcrs }]) {
      const changed = { ...evidence, quote: { ...quote, ...change } };
      expect(checkQuote(changed, key, qualifyingData)).toBe(false);
      expect((await judge(platform, changed)).failed).toContain('quote');
    }
    expect(checkQuote(evidence, key, flip(qualifyingData))).toBe(false);
    expect(checkQuote(evidence, platform.signer.publicKey, qualifyingData)).toBe(false);
  });
});

function checkQuote({ quote }: Evidence, spki: Uint8Array, qualification: Uint8Array): boolean {
  return inDirectory((dir) => {
    const file = (name: string, content: Uint8Array | string) => {
      writeFileSync(join(dir, name), content);
      return join(dir, name);
    };
    const banks = Object.entries(quote.pcrs);
    const list = banks.map(([bank, values]) => `${bank}:${Object.keys(values ?? {}).join(',')}`).join('+');
    const values = banks.flatMap(([, each]) => Object.values(each ?? {}));
    const files = [
      '-u',
      file('ak.pem', encodePem('PUBLIC KEY', spki)),
      '-m',
      file('quoted', quote.quoted),
      '-s',
      file('signature', quote.signature),
    ];
    const pcrs = ['-f', file('pcrs', Buffer.concat(values)), '-l', list];
    const run = spawnSync('tpm2_checkquote', [...files, ...pcrs, '-q', hex(qualification), '-g', 'sha256'], {
      encoding: 'utf8',
    });
    return run.status === 0;
  });
}

function inDirectory<T>(run: (dir: string) => T): T {
  const dir = mkdtempSync(join(tmpdir(), 'casemate-tools-'));
  try {
    return run(dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Writes the fixtures of verify.test.ts; both kinds share one hierarchy. */
async function record(kind: string, json: string): Promise<void> {
  const { hierarchy } = await once();
  const roots = ['general-root', 'software-signing-root'].map((name) => [
    name,
    toBase64(hierarchy.get(name).certificate),
  ]);
  const folder = new URL('vectors/', import.meta.url);
  writeFileSync(new URL(`evidence-${kind}.json`, folder), `${json}\n`);
  writeFileSync(new URL('anchors.json', folder), `${JSON.stringify(Object.fromEntries(roots), null, 2)}\n`);
}
