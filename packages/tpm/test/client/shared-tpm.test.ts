/** Many callers on swtpm's three slots: objects and sessions swapped, kept apart, and kept through failures. */
import { createHash } from 'node:crypto';
import { encode } from '@casemate/wire';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import {
  akTemplate,
  Clear,
  ContextLoad,
  ContextSave,
  commandByCode,
  createKey,
  createPrimary,
  FlushContext,
  GetCapability,
  GetRandom,
  HashSequenceStart,
  loadKey,
  type Policy,
  PolicyGetDigest,
  persist,
  quote,
  readPcrs,
  SequenceComplete,
  SequenceUpdate,
  type Session,
  type SharedTpm,
  Sign,
  Startup,
  satisfyPolicy,
  seal,
  shareTpm,
  signingKeyTemplate,
  signWith,
  srkTemplate,
  startSession,
  TPM_ALG,
  TPM_CAP,
  TPM_CC,
  TPM_HC,
  TPM_RC,
  TPM_RH,
  TPM_ST,
  TPM_SU,
  Tpm,
  TpmError,
  type TpmObject,
  type TpmTransport,
  TpmtSignatureOrNull,
  Unseal,
  unpersist,
  unseal,
  verifyAttestSignature,
  verifySignature,
} from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm, type SwtpmTransport } from '../../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from './swtpm-server.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
/** A response by the resource manager itself. */
const managed = (number: number) => ({ code: 'response', response: { number, layer: 11 } });

/** A real transport that counts commands by name, and on which a test can lose the response to one. */
class Tap implements TpmTransport {
  readonly commands: Uint8Array[] = [];
  /** Loses the response to the command with this number, counted from now. */
  loseAfter = Infinity;
  /** Changes a response. */
  change: (response: Uint8Array, command: Uint8Array) => Uint8Array = (response) => response;
  /** The command whose response was lost. */
  lost: string | undefined;

  constructor(readonly inner: TpmTransport) {}

  async send(command: Uint8Array, options?: { readonly signal?: AbortSignal }): Promise<Uint8Array> {
    this.commands.push(command);
    const response = await this.inner.send(command, options);
    if (this.loseAfter-- !== 0) return this.change(response, command);
    this.lost = nameOfCommand(command);
    throw new TpmError('closed', 'the test lost the response');
  }

  count(name: string): number {
    return this.commands.filter((command) => nameOfCommand(command) === name).length;
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}

describeWith(['swtpm'], 'a shared swtpm with three slots', () => {
  let server: SwtpmServer;
  let swtpm: SwtpmTransport;
  let tap: Tap;
  let shared: SharedTpm;

  beforeAll(async () => {
    server = await startSwtpm();
    swtpm = await connectSwtpm(server);
  });
  afterAll(async () => {
    await swtpm?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    tap = new Tap({ send: (command, options) => swtpm.send(command, options), close: async () => undefined });
    shared = shareTpm(tap);
  });

  afterEach(() => shared.close());

  const connect = () => new Tpm(shared.connect(), { crypto: nodeCrypto });

  it('serves 30 concurrent callers, each with a primary, a child, a salted session, a quote and a sealed secret', async () => {
    const caller = async (i: number): Promise<Uint8Array> => {
      await using tpm = connect();
      await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
      await using session = await startSession(tpm, { type: 'hmac', salt: srk, encrypt: true, decrypt: true });
      const wrapped = await createKey(
        tpm,
        { ...srk, auth: session },
        { template: signingKeyTemplate('ecc-p256'), auth: `key ${i}` },
      );
      await using child = await loadKey(tpm, srk, wrapped, { auth: `key ${i}` });
      const signature = await signWith(tpm, { ...child, auth: session }, text(`caller ${i}`));
      expect(verifySignature(child.public, text(`caller ${i}`), signature)).toBe(true);
      const evidence = await quote(tpm, ak, { nonce: text(`nonce ${i}`), pcrs: { sha256: [0, i % 8] } });
      expect(verifyAttestSignature(ak.public, evidence.quoted, evidence.signature)).toBe(true);
      const policy: Policy = [
        { type: 'pcr', values: await readPcrs(tpm, { sha256: [i % 16] }) },
        { type: 'auth-value' },
      ];
      const sealed = await seal(tpm, { parent: srk, data: text(`secret ${i}`), policy, auth: `auth ${i}` });
      const again = await signWith(tpm, { ...child, auth: session }, text('again'));
      expect(verifySignature(child.public, text('again'), again)).toBe(true);
      return await unseal(tpm, { parent: srk, sealed, policy, auth: `auth ${i}` });
    };
    const secrets = await Promise.all(Array.from({ length: 30 }, (_, i) => caller(i)));
    expect(secrets).toEqual(Array.from({ length: 30 }, (_, i) => text(`secret ${i}`)));
    // 90 objects and up to 60 sessions did not fit into three slots each.
    expect(tap.count('TPM2_ContextSave')).toBeGreaterThan(60);
    expect(tap.count('TPM2_ContextLoad')).toBeGreaterThan(60);
    expect(await heldBy(swtpm)).toEqual([]);
  }, 300_000);

  it('serves 30 concurrent callers on one connection, who hold 60 objects and 30 sessions at once', async () => {
    await using tpm = connect();
    const holdings = await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        const parent = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
        const salt = i % 2 === 0 ? { salt: parent } : {};
        const session = await startSession(tpm, { type: 'hmac', ...salt, encrypt: true });
        const wrapped = await createKey(tpm, parent, { template: signingKeyTemplate('ecc-p256') });
        return { parent, session, key: await loadKey(tpm, parent, wrapped) };
      }),
    );
    expect(new Set(holdings.flatMap(({ parent, key }) => [parent.handle, key.handle])).size).toBe(60);
    for (let round = 0; round < 2; round++) {
      await Promise.all(
        holdings.map(async ({ key, session }, i) => {
          const signature = await signWith(tpm, { ...key, auth: session }, text(`${i}`));
          expect(verifySignature(key.public, text(`${i}`), signature)).toBe(true);
        }),
      );
    }
    expect(await listed(tpm, TPM_HC.TRANSIENT_FIRST)).toHaveLength(60);
    expect(await listed(tpm, TPM_HC.LOADED_SESSION_FIRST)).toHaveLength(30);
  }, 300_000);

  it('keeps 64 sessions in use, refuses the 65th as the TPM does, and goes on when one is flushed', async () => {
    await using tpm = connect();
    const sessions: Session[] = [];
    for (let i = 0; i < 64; i++) {
      sessions.push(await startSession(tpm, { type: i % 2 === 0 ? 'hmac' : 'policy', encrypt: true }));
    }
    const random = (session: Session) => tpm.execute(GetRandom, { bytesRequested: 8 }, { sessions: [session] });
    for (let round = 0; round < 3; round++) await Promise.all(sessions.map(random));
    const tooMany = startSession(tpm, { type: 'hmac' });
    await expect(tooMany).rejects.toMatchObject({ response: { number: TPM_RC.SESSION_HANDLES } });
    await sessions[10]?.flush();
    await using another = await startSession(tpm, { type: 'hmac' });
    await random(another);
    expect(await listed(tpm, TPM_HC.LOADED_SESSION_FIRST)).toHaveLength(64);
  });

  it('swaps policy sessions in the middle of a policy, and a command with three sessions and two objects', async () => {
    await using tpm = connect();
    await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    const policy: Policy = [{ type: 'auth-value' }, { type: 'command-code', code: TPM_CC.Unseal }];
    const sealed = await seal(tpm, { parent: srk, data: text('data'), policy, auth: 'value' });
    const openings = Array.from({ length: 12 }, async () => {
      await using audit = await startSession(tpm, { type: 'hmac', audit: true });
      await using secrecy = await startSession(tpm, { type: 'hmac', salt: srk, encrypt: true });
      await using object = await loadKey(tpm, srk, sealed, { auth: 'value' });
      await using session = await startSession(tpm, { type: 'policy', bind: srk });
      await satisfyPolicy(tpm, session, policy);
      const sessions = [secrecy, audit];
      return (await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } }, { sessions })).outData;
    });
    for (const data of await Promise.all(openings)) expect(data).toEqual(text('data'));
  });

  it('swaps sequences, whose state changes from command to command', async () => {
    await using tpm = connect();
    const sequences = await Promise.all(
      Array.from({ length: 8 }, () =>
        tpm.execute(HashSequenceStart, { auth: new Uint8Array(0), hashAlg: TPM_ALG.SHA256 }),
      ),
    );
    const parts = ['one ', 'two ', 'three'];
    for (const part of parts) {
      for (const [i, { sequenceHandle }] of sequences.entries()) {
        await tpm.execute(SequenceUpdate, { sequenceHandle, buffer: text(`${i} ${part}`) });
      }
    }
    for (const [i, { sequenceHandle }] of sequences.entries()) {
      const request = { sequenceHandle, buffer: text('end'), hierarchy: TPM_RH.NULL };
      const { result } = await tpm.execute(SequenceComplete, request);
      const expected = createHash('sha256').update(`${parts.map((part) => `${i} ${part}`).join('')}end`);
      expect(result).toEqual(new Uint8Array(expected.digest()));
      const over = tpm.execute(SequenceUpdate, { sequenceHandle, buffer: text('more') });
      await expect(over).rejects.toMatchObject(managed(TPM_RC.REFERENCE_H0));
    }
    expect(await listed(tpm, TPM_HC.TRANSIENT_FIRST)).toEqual([]);
  });

  it("keeps one caller's objects and sessions from another: to use, to authorise with, to save, to flush, to list", async () => {
    await using one = connect();
    await using other = connect();
    const object = await createPrimary(one, { template: srkTemplate('ecc-p256') });
    const session = await startSession(one, { type: 'hmac' });
    const { handle } = object;
    await expect(createKey(other, handle, { template: srkTemplate('ecc-p256') })).rejects.toMatchObject(
      managed(TPM_RC.REFERENCE_H0),
    );
    await expect(other.execute(ContextSave, { saveHandle: handle })).rejects.toMatchObject(
      managed(TPM_RC.REFERENCE_H0),
    );
    await expect(other.execute(ContextSave, { saveHandle: session.handle })).rejects.toMatchObject(
      managed(TPM_RC.REFERENCE_H0),
    );
    const stolen = other.execute(GetRandom, { bytesRequested: 1 }, { sessions: [session] });
    await expect(stolen).rejects.toMatchObject(managed(TPM_RC.REFERENCE_S0));
    for (const flushHandle of [handle, session.handle]) {
      const flush = other.execute(FlushContext, { flushHandle });
      await expect(flush).rejects.toMatchObject({ ...managed(TPM_RC.HANDLE), code: 'response' });
    }
    for (const first of [TPM_HC.TRANSIENT_FIRST, TPM_HC.LOADED_SESSION_FIRST, TPM_HC.ACTIVE_SESSION_FIRST]) {
      expect(await listed(other, first)).toEqual([]);
    }
    expect(await listed(one, TPM_HC.TRANSIENT_FIRST)).toEqual([handle]);
    expect(await listed(one, TPM_HC.LOADED_SESSION_FIRST)).toEqual([session.handle]);
    await one.execute(GetRandom, { bytesRequested: 1 }, { sessions: [await startSession(one, { type: 'hmac' })] });
    await createKey(one, object, { template: srkTemplate('ecc-p256') });
  });

  it('lets a caller hand an object or a session to another by its saved context, the session only once', async () => {
    await using one = connect();
    await using other = connect();
    const object = await createPrimary(one, { template: signingKeyTemplate('ecc-p256') });
    const { context } = await one.execute(ContextSave, { saveHandle: object });
    const { loadedHandle } = await other.execute(ContextLoad, { context });
    expect(loadedHandle).not.toBe(object.handle);
    const signature = await signWith(other, { ...object, handle: loadedHandle }, text('handed over'));
    expect(verifySignature(object.public, text('handed over'), signature)).toBe(true);

    const session = await startSession(one, { type: 'policy' });
    await satisfyPolicy(one, session, [{ type: 'command-code', code: TPM_CC.Sign }]);
    const digest = (await one.execute(PolicyGetDigest, { policySession: session })).policyDigest;
    const saved = await one.execute(ContextSave, { saveHandle: session });
    expect(await listed(one, TPM_HC.ACTIVE_SESSION_FIRST)).toEqual([session.handle]);
    const tooLate = one.execute(PolicyGetDigest, { policySession: session });
    await expect(tooLate).rejects.toMatchObject(managed(TPM_RC.REFERENCE_H0));
    const forged = { ...saved.context, sequence: saved.context.sequence + 1n };
    await expect(other.execute(ContextLoad, { context: forged })).rejects.toMatchObject(managed(TPM_RC.HANDLE));
    await other.execute(ContextLoad, { context: saved.context });
    expect((await other.execute(PolicyGetDigest, { policySession: session })).policyDigest).toEqual(digest);
    const twice = one.execute(ContextLoad, { context: saved.context });
    await expect(twice).rejects.toMatchObject(managed(TPM_RC.HANDLE));
  });

  it('flushes what a caller left when its connection closes, and leaves what was in the TPM before', async () => {
    const before = new Tpm(swtpm, { crypto: nodeCrypto });
    const earlier = await createPrimary(before, { template: srkTemplate('ecc-p256'), hierarchy: 'null' });
    const tpm = connect();
    for (let i = 0; i < 4; i++) await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    for (let i = 0; i < 5; i++) await startSession(tpm, { type: 'trial' });
    const persistent = await persist(tpm, await createPrimary(tpm, { template: srkTemplate('ecc-p256') }), 0x81000005);
    await createKey(tpm, persistent, { template: srkTemplate('ecc-p256') });
    await unpersist(tpm, persistent);
    await expect(tpm.execute(FlushContext, { flushHandle: earlier.handle })).rejects.toMatchObject(
      managed(TPM_RC.HANDLE),
    );
    await tpm.close();
    await expect(tpm.execute(GetRandom, { bytesRequested: 1 })).rejects.toMatchObject({ code: 'closed' });
    expect(await heldBy(swtpm)).toEqual([earlier.handle]);
    await earlier.flush();
  });

  it('renews the oldest saved session long before the TPM would refuse to save another', async () => {
    tap.change = (bytes, command) => (isGapQuestion(command) ? withLastWord(bytes, 400) : bytes);
    await using tpm = connect();
    const idle = await startSession(tpm, { type: 'policy' });
    const busy = await Promise.all(Array.from({ length: 4 }, () => startSession(tpm, { type: 'policy' })));
    const loadsOfIdle = () =>
      tap.commands.filter((bytes) => nameOfCommand(bytes) === 'TPM2_ContextLoad' && wordAt(bytes, 18) === idle.handle);
    // Four in turn on three slots: each use saves one session and loads another.
    for (let i = 0; i < 500; i++) await tpm.execute(PolicyGetDigest, { policySession: busy[i % 4] ?? idle });
    expect(loadsOfIdle()).toHaveLength(2);
    await tpm.execute(PolicyGetDigest, { policySession: idle });
  });

  it('recovers when the TPM finds the oldest saved session too old after 65 535 others', async () => {
    const raw = new Tpm(swtpm, { crypto: nodeCrypto });
    const foreign = await startSession(raw, { type: 'policy' });
    await using tpm = connect();
    const sessions = await Promise.all(Array.from({ length: 4 }, () => startSession(tpm, { type: 'policy' })));
    let { context } = await raw.execute(ContextSave, { saveHandle: foreign });
    const refusal = await (async () => {
      for (let i = 0; i < 70_000; i++) {
        await raw.execute(ContextLoad, { context });
        ({ context } = await raw.execute(ContextSave, { saveHandle: foreign }));
      }
    })().catch((error: unknown) => error);
    expect(refusal).toMatchObject({ response: { number: TPM_RC.CONTEXT_GAP } });
    for (const policySession of [...sessions, ...sessions]) await tpm.execute(PolicyGetDigest, { policySession });
    await raw.execute(FlushContext, { flushHandle: foreign.handle });
  }, 300_000);

  it('drops what TPM2_Clear flushes, loaded or not, and goes on', async () => {
    await using tpm = connect();
    const owned = await Promise.all(
      Array.from({ length: 5 }, () => createPrimary(tpm, { template: srkTemplate('ecc-p256') })),
    );
    const template = signingKeyTemplate('ecc-p256');
    const free = await createPrimary(tpm, { template, hierarchy: 'null' });
    const session = await startSession(tpm, { type: 'hmac' });
    await tpm.execute(Clear, { authHandle: TPM_RH.LOCKOUT });
    for (const object of owned) {
      const gone = createKey(tpm, object, { template });
      await expect(gone).rejects.toMatchObject(managed(TPM_RC.REFERENCE_H0));
    }
    await signWith(tpm, { ...free, auth: session }, text('still here'));
    await createKey(tpm, await createPrimary(tpm, { template: srkTemplate('ecc-p256') }), { template });
    expect(await listed(tpm, TPM_HC.TRANSIENT_FIRST)).toHaveLength(2);
  });

  it('drops everything when the TPM is reset, whether or not the reset passes through it, and goes on', async () => {
    for (const isThrough of [true, false]) {
      await using tpm = connect();
      const objects = await Promise.all(
        Array.from({ length: 4 }, () => createPrimary(tpm, { template: srkTemplate('ecc-p256') })),
      );
      const sessions = await Promise.all(Array.from({ length: 4 }, () => startSession(tpm, { type: 'policy' })));
      await swtpm.control.initialize();
      const early = tpm.execute(GetRandom, { bytesRequested: 1 });
      await expect(early).rejects.toMatchObject({ response: { number: TPM_RC.INITIALIZE } });
      const starter = isThrough ? tpm : new Tpm(swtpm);
      await starter.execute(Startup, { startupType: TPM_SU.CLEAR });
      const template = srkTemplate('ecc-p256');
      for (const object of objects) {
        await expect(createKey(tpm, object, { template })).rejects.toMatchObject({
          response: { number: TPM_RC.REFERENCE_H0 },
        });
      }
      for (const policySession of sessions) {
        const gone = tpm.execute(PolicyGetDigest, { policySession });
        await expect(gone).rejects.toMatchObject({ response: { number: TPM_RC.REFERENCE_H0 } });
      }
      await createKey(tpm, await createPrimary(tpm, { template }), { template });
      await tpm.execute(PolicyGetDigest, { policySession: await startSession(tpm, { type: 'policy' }) });
    }
    expect(await heldBy(swtpm)).toEqual([]);
  });

  it('stays right when the response to any one command is lost, in the middle of a swap too', async () => {
    const lost = new Map<string, number>();
    for (let at = 1; at < 70; at++) {
      const tpm = connect();
      const objects: TpmObject[] = [];
      const sessions: Session[] = [];
      for (let i = 0; i < 4; i++) {
        objects.push(await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256'), hierarchy: 'null' }));
        sessions.push(await startSession(tpm, { type: 'policy' }));
      }
      const sequence = await tpm.execute(HashSequenceStart, { auth: new Uint8Array(0), hashAlg: TPM_ALG.SHA256 });
      const { context } = await tpm.execute(ContextSave, { saveHandle: objects[0] ?? 0 });
      tap.loseAfter = at;
      const failures = await exercise(tpm, objects, sessions, sequence.sequenceHandle, context);
      const name = tap.lost ?? 'nothing';
      lost.set(name, (lost.get(name) ?? 0) + 1);
      tap.loseAfter = Infinity;
      tap.lost = undefined;
      // Only the caller of that one command saw it, and those whose only copy was in the lost response.
      expect(failures.filter((code) => code === 'closed').length, `${at} ${name}`).toBe(name === 'nothing' ? 0 : 1);
      const after = await exercise(tpm, objects, sessions, sequence.sequenceHandle, context);
      expect(
        after.every((code) => code === 'gone'),
        `${at} ${name}: ${after}`,
      ).toBe(true);
      if (!/ContextSave|Sequence/.test(name)) expect(after, `${at} ${name}`).toEqual([]);
      await tpm.close();
      expect(await heldBy(swtpm), `${at} ${name}`).toEqual([]);
    }
    const names = ['TPM2_ContextSave', 'TPM2_ContextLoad', 'TPM2_FlushContext', 'TPM2_Sign', 'TPM2_StartAuthSession'];
    expect([...lost.keys()]).toEqual(expect.arrayContaining(names));
  }, 300_000);

  it('gives up a caller who aborts, in the queue or in the middle of a swap, and serves the others', async () => {
    await using tpm = connect();
    await using other = connect();
    const keys = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        createPrimary(i % 2 ? tpm : other, { template: signingKeyTemplate('ecc-p256'), hierarchy: 'null' }),
      ),
    );
    const outcomes = await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const key = keys[i % 6] as TpmObject; // there are six
        const abort = new AbortController();
        if (i % 3 === 0) setTimeout(() => abort.abort('enough'), i / 4);
        return signUnless(abort.signal, i % 2 ? tpm : other, key, text(`${i}`)).then(
          (signature) => verifySignature(key.public, text(`${i}`), signature, nodeCrypto),
          (error: unknown) => (i % 3 === 0 && error === 'enough' ? 'aborted' : error),
        );
      }),
    );
    for (const [i, outcome] of outcomes.entries()) expect([true, 'aborted'], `${i}: ${outcome}`).toContain(outcome);
    expect(outcomes.filter((outcome) => outcome === true).length).toBeGreaterThanOrEqual(40);
  });
});

async function signUnless(signal: AbortSignal, tpm: Tpm, key: TpmObject, message: Uint8Array): Promise<Uint8Array> {
  const digest = nodeCrypto.hash(TPM_ALG.SHA256, message);
  const validation = { tag: TPM_ST.HASHCHECK, hierarchy: TPM_RH.NULL, digest: new Uint8Array(0) } as const;
  const inScheme = { scheme: TPM_ALG.NULL } as const;
  const request = { keyHandle: key, digest, inScheme, validation };
  const { signature } = await tpm.execute(Sign, request, { signal });
  return encode(TpmtSignatureOrNull, signature);
}

/** Uses everything; what failed, as `gone` or the error's code. */
async function exercise(
  tpm: Tpm,
  objects: readonly TpmObject[],
  sessions: readonly Session[],
  sequenceHandle: number,
  context: Parameters<typeof tpm.execute<typeof ContextLoad>>[1]['context'],
): Promise<readonly string[]> {
  const failures: string[] = [];
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    await work().catch((error: unknown) => {
      if (!(error instanceof TpmError)) throw error;
      const isGone = error.response?.number === TPM_RC.REFERENCE_H0;
      failures.push(isGone ? 'gone' : error.code === 'response' ? error.message : error.code);
    });
  };
  for (const object of objects) await attempt(() => signWith(tpm, object, text('message')));
  for (const policySession of sessions) await attempt(() => tpm.execute(PolicyGetDigest, { policySession }));
  await attempt(async () => (await startSession(tpm, { type: 'trial' })).flush());
  await attempt(() => tpm.execute(SequenceUpdate, { sequenceHandle, buffer: text('part') }));
  await attempt(async () => {
    const { loadedHandle: flushHandle } = await tpm.execute(ContextLoad, { context });
    await tpm.execute(FlushContext, { flushHandle });
  });
  return failures;
}

async function listed(tpm: Tpm, property: number): Promise<readonly number[]> {
  const request = { capability: TPM_CAP.HANDLES, property, propertyCount: 254 };
  const { capabilityData } = await tpm.execute(GetCapability, request);
  return capabilityData.capability === TPM_CAP.HANDLES ? capabilityData.data : [];
}

/** What the TPM itself holds: transient objects, loaded and saved sessions. */
async function heldBy(transport: TpmTransport): Promise<readonly number[]> {
  const tpm = new Tpm(transport);
  const lists = [TPM_HC.TRANSIENT_FIRST, TPM_HC.LOADED_SESSION_FIRST, TPM_HC.ACTIVE_SESSION_FIRST];
  return (await Promise.all(lists.map((first) => listed(tpm, first)))).flat();
}

/** GetCapability of TPM_PT_CONTEXT_GAP_MAX. */
function isGapQuestion(command: Uint8Array): boolean {
  return command.length === 22 && wordAt(command, 6) === TPM_CC.GetCapability && wordAt(command, 14) === 0x114;
}

function withLastWord(bytes: Uint8Array, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(copy.length - 4, value);
  return copy;
}

function wordAt(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset);
}

function nameOfCommand(command: Uint8Array): string {
  const code = wordAt(command, 6);
  return commandByCode.get(code)?.name ?? `command ${code}`;
}
