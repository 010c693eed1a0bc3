/** Ciphers, derived objects and signatures of this TPM and of Debian's swtpm: the same bytes, and each verifies what the other signed. */
import { createHash, createHmac } from 'node:crypto';
import * as T from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { openUtpm } from '../src/index-node.js';
import { decodeResponse, fixedKey } from './conversation.js';
import { commandBytes as cb, frame, type RawTpm, responseCode, startSwtpm } from './raw.js';
import { itWith } from './requirement.js';

const it = itWith('swtpm');
const A = T.TPM_ALG;
const NONE = new Uint8Array(0);
const NO_SCHEME = { scheme: A.NULL, details: undefined } as const;
const NO_CIPHER = { algorithm: A.NULL, keyBits: undefined, mode: undefined } as const;
const AES = { algorithm: A.AES, keyBits: 128, mode: A.CFB } as const;
const SEED = bytes(32, 3);

let ours: RawTpm;
let theirs: RawTpm;

beforeAll(async () => {
  ours = await openUtpm({ startup: true });
  // Where swtpm is not installed, nothing below runs.
  theirs = await startSwtpm().catch(() => ours);
});
afterAll(async () => {
  await Promise.all([ours.close(), theirs.close()]);
});

function bytes(length: number, factor: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * factor + 1) & 255);
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** Runs a command that must succeed; the handle and the fields of its response. */
async function run(
  tpm: RawTpm,
  command: T.AnyCommand,
  handles: readonly number[],
  parameters: Readonly<Record<string, unknown>> = {},
): Promise<ReturnType<typeof decodeResponse>> {
  const sent = cb(command, handles, parameters);
  const response = await tpm.send(sent);
  // swtpm asks for the first use of a protected value to be sent again.
  const code = responseCode(response);
  if (code === T.TPM_RC.RETRY) return await run(tpm, command, handles, parameters);
  if (code !== 0) throw new Error(`${command.name}: expected success, got 0x${code.toString(16)}`);
  return decodeResponse(command, response);
}

async function loadExternal(tpm: RawTpm, inPublic: unknown, inPrivate?: unknown): Promise<number> {
  return (await run(tpm, T.LoadExternal, [], { inPrivate, inPublic, hierarchy: T.TPM_RH.NULL })).handle;
}

async function flush(tpm: RawTpm, flushHandle: number): Promise<void> {
  await run(tpm, T.FlushContext, [], { flushHandle });
}

/** What a TPM makes of data under a given key, in parts: each goes on with the initial vector of the one before. */
async function encrypted(tpm: RawTpm, cipher: { algorithm: number; keyBits: number }, mode: number): Promise<unknown> {
  const key = bytes(cipher.keyBits / 8, cipher.algorithm === A.TDES ? 38 : 7);
  const inPublic = {
    type: A.SYMCIPHER,
    nameAlg: A.SHA256,
    objectAttributes: 0x60040,
    authPolicy: NONE,
    parameters: { sym: { ...cipher, mode: A.NULL } },
    unique: sha256(SEED, key),
  };
  const inPrivate = { sensitiveType: A.SYMCIPHER, authValue: NONE, seedValue: SEED, sensitive: key };
  const handle = await loadExternal(tpm, inPublic, inPrivate);
  const size = cipher.algorithm === A.TDES ? 8 : 16;
  const isBlocks = mode === A.CBC || mode === A.ECB;
  const results: unknown[] = [];
  for (const decrypt of [false, true]) {
    // The last counter block is all ones, so that CTR carries over every byte.
    let ivIn: unknown = mode === A.ECB ? NONE : new Uint8Array(size).fill(mode === A.CTR ? 255 : 9);
    for (const length of isBlocks ? [size, 4 * size] : [size, 3 * size, size + 5]) {
      const parameters = { inData: bytes(length, 11), decrypt, mode, ivIn };
      const { values } = await run(tpm, T.EncryptDecrypt2, [handle], parameters);
      ivIn = values.ivOut;
      results.push(values);
    }
  }
  await flush(tpm, handle);
  return results;
}

const CIPHERS = [
  { name: 'AES-128', algorithm: A.AES, keyBits: 128 },
  { name: 'AES-256', algorithm: A.AES, keyBits: 256 },
  { name: 'Camellia-128', algorithm: A.CAMELLIA, keyBits: 128 },
  { name: 'Camellia-256', algorithm: A.CAMELLIA, keyBits: 256 },
  { name: 'TDES-128', algorithm: A.TDES, keyBits: 128 },
  { name: 'TDES-192', algorithm: A.TDES, keyBits: 192 },
] as const;

describe('swtpm and this TPM encrypt to the same bytes and go on with the same initial vector:', () => {
  for (const { name, ...cipher } of CIPHERS) {
    for (const mode of ['CTR', 'OFB', 'CBC', 'CFB', 'ECB'] as const) {
      it(`${name} in ${mode} mode`, async () => {
        expect(await encrypted(ours, cipher, A[mode])).toEqual(await encrypted(theirs, cipher, A[mode]));
      });
    }
  }
});

/** A derivation parent with a given secret, brought in as the duplicate of an object without wraps. */
async function derivationParent(tpm: RawTpm, hashAlg: number): Promise<number> {
  const storage = {
    type: A.ECC,
    nameAlg: A.SHA256,
    objectAttributes: 0x30472,
    authPolicy: NONE,
    parameters: { symmetric: AES, scheme: NO_SCHEME, curveID: T.TPM_ECC_CURVE.NIST_P256, kdf: NO_SCHEME },
    unique: { x: NONE, y: NONE },
  };
  const inSensitive = { userAuth: NONE, data: NONE };
  const request = { inSensitive, inPublic: storage, outsideInfo: NONE, creationPCR: [] };
  const { handle: parent } = await run(tpm, T.CreatePrimary, [T.TPM_RH.OWNER], request);
  const secret = bytes(32, 5);
  const objectPublic = {
    type: A.KEYEDHASH,
    nameAlg: A.SHA256,
    objectAttributes: 0x30040,
    authPolicy: NONE,
    parameters: { scheme: { scheme: A.XOR, details: { hashAlg, kdf: A.KDF1_SP800_108 } } },
    unique: new Uint8Array(createHmac('sha256', SEED).update(secret).digest()),
  } as const;
  const sensitive = { sensitiveType: A.KEYEDHASH, authValue: NONE, seedValue: SEED, sensitive: secret } as const;
  const plain = encode(T.TpmtSensitive, sensitive);
  const duplicate = Uint8Array.from([plain.length >> 8, plain.length & 255, ...plain]);
  const imported = { encryptionKey: NONE, objectPublic, duplicate, inSymSeed: NONE, symmetricAlg: NO_CIPHER };
  const { values } = await run(tpm, T.Import, [parent], imported);
  const { handle } = await run(tpm, T.Load, [parent], { inPrivate: values.outPrivate, inPublic: objectPublic });
  await flush(tpm, parent);
  return handle;
}

const ECC_SIGNER = { symmetric: NO_CIPHER, scheme: NO_SCHEME, kdf: NO_SCHEME } as const;
const DERIVED = [
  ...(['NIST_P256', 'NIST_P384', 'BN_P256'] as const).map((name) => ({
    name,
    type: A.ECC,
    objectAttributes: 0x40050,
    parameters: { ...ECC_SIGNER, curveID: T.TPM_ECC_CURVE[name] },
  })),
  { name: 'AES-128', type: A.SYMCIPHER, objectAttributes: 0x60050, parameters: { sym: AES } },
  {
    name: 'HMAC',
    type: A.KEYEDHASH,
    objectAttributes: 0x40050,
    parameters: { scheme: { scheme: A.HMAC, details: { hashAlg: A.SHA256 } } },
  },
];

/** The public areas of what a parent derives. */
async function derived(tpm: RawTpm, parent: number, template: Readonly<Record<string, unknown>>): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const [label, context] of [
    [NONE, NONE],
    [Uint8Array.of(1, 2, 3), Uint8Array.of(9)],
    [Uint8Array.of(5, 0), NONE],
  ] as const) {
    const area = { ...template, nameAlg: A.SHA256, authPolicy: NONE, unique: { label, context } };
    const inPublic = encode(T.TpmtPublicDerive, area as unknown as T.TpmtPublicDerive); // the templates below are such
    const inSensitive = { userAuth: NONE, data: NONE };
    const { handle, values } = await run(tpm, T.CreateLoaded, [parent], { inSensitive, inPublic });
    found.push(values.outPublic);
    await flush(tpm, handle);
  }
  return found;
}

describe('swtpm and this TPM derive the same objects from the same parent, label and context:', () => {
  for (const hash of ['SHA1', 'SHA256', 'SHA512'] as const) {
    it(`by ${hash}`, async () => {
      const parents = [await derivationParent(ours, A[hash]), await derivationParent(theirs, A[hash])] as const;
      for (const { name, ...template } of DERIVED) {
        const mine = await derived(ours, parents[0], template);
        expect({ name, areas: mine }).toEqual({ name, areas: await derived(theirs, parents[1], template) });
        expect(new Set(mine.map((area) => JSON.stringify(area))).size).toBe(mine.length);
      }
      await flush(ours, parents[0]);
      await flush(theirs, parents[1]);
    });
  }
});

const CURVES = ['NIST_P192', 'NIST_P224', 'NIST_P256', 'NIST_P384', 'NIST_P521', 'BN_P256', 'BN_P638'] as const;

describe('a signature by one is verified by the other, and not over another digest:', () => {
  for (const curve of CURVES) {
    it(`ECDSA with ${curve}`, async () => {
      const curveID = T.TPM_ECC_CURVE[curve];
      const { d, x, y } = fixedKey(curveID);
      const inPublic = {
        type: A.ECC,
        nameAlg: A.SHA256,
        objectAttributes: 0x40040,
        authPolicy: NONE,
        parameters: { ...ECC_SIGNER, curveID },
        unique: { x, y },
      };
      const inPrivate = { sensitiveType: A.ECC, authValue: NONE, seedValue: NONE, sensitive: d };
      const inScheme = { scheme: A.ECDSA, details: { hashAlg: A.SHA256 } };
      const validation = { tag: T.TPM_ST.HASHCHECK, hierarchy: T.TPM_RH.NULL, digest: NONE };
      const digest = sha256(bytes(40, 13));
      for (const [signer, verifier] of [
        [ours, theirs],
        [theirs, ours],
      ] as const) {
        const [key, publicKey] = [
          await loadExternal(signer, inPublic, inPrivate),
          await loadExternal(verifier, inPublic),
        ];
        const { signature } = (await run(signer, T.Sign, [key], { digest, inScheme, validation })).values;
        await run(verifier, T.VerifySignature, [publicKey], { digest, signature });
        const other = { digest: sha256(digest), signature };
        const refused = await verifier.send(cb(T.VerifySignature, [publicKey], other));
        expect(responseCode(refused)).toBe(T.TPM_RC.SIGNATURE + 0x40 + 0x200);
        await flush(signer, key);
        await flush(verifier, publicKey);
      }
    });
  }
});

describe('TPM2_Clear takes back what swtpm takes back, and no more:', () => {
  const properties = [T.TPM_PT.MAX_AUTH_FAIL, T.TPM_PT.LOCKOUT_INTERVAL, T.TPM_PT.LOCKOUT_RECOVERY];
  const audit = [T.TPM_PT.AUDIT_COUNTER_0, T.TPM_PT.AUDIT_COUNTER_1];

  async function told(tpm: RawTpm): Promise<unknown> {
    const capability = T.TPM_CAP.TPM_PROPERTIES;
    const wanted = new Set<number>([...properties, ...audit]);
    const found: unknown[] = [];
    for (const property of wanted) {
      const { values } = await run(tpm, T.GetCapability, [], { capability, property, propertyCount: 1 });
      found.push(values.capabilityData);
    }
    return found;
  }

  it('lockout parameters, the audit counter and the authorization value of PCRs', async () => {
    const after: unknown[] = [];
    for (const tpm of [ours, theirs]) {
      const parameters = { newMaxTries: 7, newRecoveryTime: 8, lockoutRecovery: 9 };
      await run(tpm, T.DictionaryAttackParameters, [T.TPM_RH.LOCKOUT], parameters);
      await run(tpm, T.PcrSetAuthValue, [20], { auth: Uint8Array.of(1, 2) });
      const audited = { auditAlg: A.SHA256, setList: [], clearList: [] };
      await run(tpm, T.SetCommandCodeAuditStatus, [T.TPM_RH.OWNER], audited);
      const list = { auditAlg: A.NULL, setList: [T.TPM_CC.GetRandom], clearList: [] };
      await run(tpm, T.SetCommandCodeAuditStatus, [T.TPM_RH.OWNER], list);
      await run(tpm, T.GetRandom, [], { bytesRequested: 1 });
      const before = await told(tpm);
      await run(tpm, T.Clear, [T.TPM_RH.PLATFORM]);
      const extend = { digests: [{ hashAlg: A.SHA256, digest: sha256() }] };
      const codes = [responseCode(await tpm.send(cb(T.PcrExtend, [20], extend)))];
      after.push({ before, after: await told(tpm), codes });
    }
    expect(after[0]).toEqual(after[1]);
  });

  it('not the time that policies are counted from', async () => {
    for (const tpm of [ours, theirs]) {
      const start = {
        nonceCaller: bytes(16, 1),
        encryptedSalt: NONE,
        sessionType: T.TPM_SE.POLICY,
        symmetric: NO_CIPHER,
        authHash: A.SHA256,
      };
      const { handle } = await run(tpm, T.StartAuthSession, [T.TPM_RH.NULL, T.TPM_RH.NULL], start);
      await run(tpm, T.Clear, [T.TPM_RH.PLATFORM]);
      const terms = { nonceTPM: NONE, cpHashA: NONE, policyRef: NONE, expiration: 3000 };
      await run(tpm, T.PolicySecret, [T.TPM_RH.OWNER, handle], terms);
      await flush(tpm, handle);
    }
  });
});

describe('swtpm and this TPM take a saved context filled up to TPM_PT_MAX_OBJECT_CONTEXT, and otherwise no byte behind it:', () => {
  const MAX = 0xa84;
  // Before the blob stand 18 bytes, the last two of them its length.
  const lengths = (own: number): readonly number[] => [own - 1, own, own + 1, MAX - 1, MAX, MAX + 1];

  /** A context as the parameter of TPM2_ContextLoad, cut or filled up to `length`. */
  async function loads(tpm: RawTpm, context: Uint8Array, length: number, filling = 0): Promise<number> {
    const parameters = new Uint8Array(length).fill(filling);
    parameters.set(context.subarray(0, length));
    return responseCode(await tpm.send(frame(T.TPM_CC.ContextLoad, [], [], parameters)));
  }

  async function save(tpm: RawTpm, saveHandle: number): Promise<Uint8Array> {
    const { values } = await run(tpm, T.ContextSave, [saveHandle]);
    return encode(T.TpmsContext, values.context as T.TpmsContext);
  }

  /** Loads a public key, which both TPMs then know by the same Name. */
  async function load(tpm: RawTpm): Promise<number> {
    const { x, y } = fixedKey(T.TPM_ECC_CURVE.NIST_P256);
    return await loadExternal(tpm, {
      type: A.ECC,
      nameAlg: A.SHA256,
      objectAttributes: 0x40040,
      authPolicy: NONE,
      parameters: { ...ECC_SIGNER, curveID: T.TPM_ECC_CURVE.NIST_P256 },
      unique: { x, y },
    });
  }

  async function startHmac(tpm: RawTpm): Promise<number> {
    const start = {
      nonceCaller: bytes(16, 1),
      encryptedSalt: NONE,
      sessionType: T.TPM_SE.HMAC,
      symmetric: NO_CIPHER,
      authHash: A.SHA256,
    };
    return (await run(tpm, T.StartAuthSession, [T.TPM_RH.NULL, T.TPM_RH.NULL], start)).handle;
  }

  it('reports that size', async () => {
    const property = T.TPM_PT.MAX_OBJECT_CONTEXT;
    const request = { capability: T.TPM_CAP.TPM_PROPERTIES, property, propertyCount: 1 };
    for (const tpm of [ours, theirs]) {
      const { values } = await run(tpm, T.GetCapability, [], request);
      expect(values.capabilityData).toMatchObject({ data: [{ property, value: MAX }] });
    }
  });

  it('an object', async () => {
    const all: unknown[] = [];
    for (const tpm of [ours, theirs]) {
      const handle = await load(tpm);
      const context = await save(tpm, handle);
      await flush(tpm, handle);
      for (const filling of [0, 0xff]) {
        const seen: unknown[] = [];
        for (const length of lengths(context.length)) {
          const code = await loads(tpm, context, length, filling);
          if (code !== 0) seen.push(code);
          else seen.push((await run(tpm, T.ReadPublic, [handle])).values);
          if (code === 0) await flush(tpm, handle);
        }
        all.push(seen);
      }
    }
    const name = expect.objectContaining({ name: expect.any(Uint8Array) });
    expect(all[0]).toEqual([T.TPM_RC.INSUFFICIENT + 0x140, name, T.TPM_RC.SIZE, T.TPM_RC.SIZE, name, T.TPM_RC.SIZE]);
    for (const seen of all) expect(seen).toEqual(all[0]);
  });

  it('a session', async () => {
    const all: unknown[] = [];
    for (const tpm of [ours, theirs]) {
      const handle = await startHmac(tpm);
      const seen: unknown[] = [];
      for (const which of lengths(0).keys()) {
        const context = await save(tpm, handle);
        const length = lengths(context.length)[which] ?? 0;
        const code = await loads(tpm, context, length);
        seen.push(code);
        if (code !== 0) expect(await loads(tpm, context, context.length)).toBe(0);
      }
      await flush(tpm, handle);
      all.push(seen);
    }
    expect(all[0]).toEqual([T.TPM_RC.INSUFFICIENT + 0x140, 0, T.TPM_RC.SIZE, T.TPM_RC.SIZE, 0, T.TPM_RC.SIZE]);
    expect(all[1]).toEqual(all[0]);
  });

  it('but no byte of the context itself is other than it was saved', async () => {
    const INTEGRITY = T.TPM_RC.INTEGRITY + 0x140;
    const codes: number[][] = [];
    for (const tpm of [ours, theirs]) {
      const handle = await load(tpm);
      const context = await save(tpm, handle);
      await flush(tpm, handle);
      const blob = context.length - 18;
      const changes: readonly ((view: DataView) => void)[] = [
        (view) => view.setUint8(7, view.getUint8(7) ^ 1), // the sequence number
        (view) => view.setUint32(8, 0x80000002), // the kind of object
        (view) => view.setUint32(12, T.TPM_RH.OWNER), // the hierarchy
        (view) => view.setUint8(context.length - 1, view.getUint8(context.length - 1) ^ 1), // the last byte
        (view) => view.setUint16(16, blob - 1), // a byte of the blob counts as filling
        (view) => view.setUint16(16, blob + 1), // a byte of the filling counts as the blob's
        (view) => view.setUint16(16, MAX - 18), // all of it does
        (view) => view.setUint16(16, MAX - 17), // and more than there is
      ];
      const seen: number[] = [];
      for (const change of changes) {
        const changed = new Uint8Array(MAX);
        changed.set(context);
        change(new DataView(changed.buffer));
        seen.push(await loads(tpm, changed, MAX));
      }
      codes.push(seen);
    }
    expect(codes[0]).toEqual([...Array(7).fill(INTEGRITY), T.TPM_RC.INSUFFICIENT + 0x140]);
    expect(codes[1]).toEqual(codes[0]);
  });

  it('and no other command takes a byte too many, however long it is', async () => {
    const parameters = new Uint8Array(MAX);
    parameters.set([0, 1]);
    const command = frame(T.TPM_CC.GetRandom, [], [], parameters);
    const codes = [responseCode(await ours.send(command)), responseCode(await theirs.send(command))];
    expect(codes).toEqual([T.TPM_RC.SIZE, T.TPM_RC.SIZE]);
  });
});
