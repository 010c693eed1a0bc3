/** The same commands, well-formed and not, to this TPM and to Debian's swtpm: response codes agree, and bytes where they are determined. */
import * as T from '@casemate/tpm';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { full } from '../src/commands/full.js';
import { openUtpm } from '../src/index-node.js';
import { commandBytes as cb, frame, type RawTpm, resized, responseCode, startSwtpm } from './raw.js';
import { itWith } from './requirement.js';

const it = itWith('swtpm');
const NONE = new Uint8Array(0);
const { OWNER, ENDORSEMENT, PLATFORM, LOCKOUT, NULL } = T.TPM_RH;
const { SHA256, ECDSA, ECDH, HMAC, XOR, ECC, KEYEDHASH, SYMCIPHER, AES, CFB, KDF1_SP800_108 } = T.TPM_ALG;
const ALG_NULL = T.TPM_ALG.NULL;

let ours: RawTpm;
let theirs: RawTpm;
let differences: string[] = [];

beforeAll(async () => {
  ours = await openUtpm({ startup: true });
  // Where swtpm is not installed, nothing below runs.
  theirs = await startSwtpm().catch(() => ours);
});
afterAll(async () => {
  await Promise.all([ours.close(), theirs.close()]);
});

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Sends a command to both; notes a difference of the response code, or of the bytes where `isDetermined`. */
async function both(label: string, command: Uint8Array, isDetermined = false, other = command): Promise<Uint8Array[]> {
  const [a, b] = [await ours.send(command), await theirs.send(other)];
  const [mine, swtpm] = [responseCode(a), responseCode(b)];
  const sameBytes = !isDetermined || mine !== 0 || hex(a) === hex(b);
  if (mine !== swtpm) differences.push(`${label}: ${mine.toString(16)} instead of ${swtpm.toString(16)}`);
  else if (!sameBytes) differences.push(`${label}: other bytes`);
  return [a, b];
}

/** The differences since the last call that no pattern of `known` explains. */
function unexplained(known: readonly RegExp[] = []): string[] {
  const found = differences.filter((difference) => !known.some((pattern) => pattern.test(difference)));
  differences = [];
  return found;
}

/** Sends the same to both without comparing, to bring both into the same state. */
async function prepare(command: Uint8Array): Promise<void> {
  await Promise.all([ours.send(command), theirs.send(command)]);
}

async function flushAll(): Promise<void> {
  for (const first of [0x80000000, 0x02000000, 0x03000000]) {
    for (const i of [0, 1, 2]) await prepare(cb(T.FlushContext, [], { flushHandle: first + i }));
  }
}

/** A command cut at every byte, with a byte too many, and with bits of each byte of its body flipped; `after` cleans up what succeeded. */
async function mutate(
  label: string,
  command: Uint8Array,
  after: () => Promise<void> = async () => undefined,
): Promise<void> {
  for (let n = 10; n < command.length; n++) await both(`${label} cut to ${n}`, resized(command.slice(0, n)));
  await both(`${label} with a byte more`, resized(Uint8Array.from([...command, 0])));
  await after();
  for (let i = 10; i < command.length; i++) {
    for (const bits of [0x01, 0x10, 0x80]) {
      const changed = command.map((byte, at) => (at === i ? byte ^ bits : byte));
      const responses = await both(`${label} byte ${i} ^ ${bits.toString(16)}`, changed);
      if (responses.some((response) => responseCode(response) === 0)) await after();
    }
  }
}

const aes = { algorithm: AES, keyBits: 128, mode: CFB } as const;
const noCipher = { algorithm: ALG_NULL, keyBits: undefined, mode: undefined } as const;
const noScheme = { scheme: ALG_NULL, details: undefined } as const;
const ecdsa = { scheme: ECDSA, details: { hashAlg: SHA256 } } as const;
const hmac = { scheme: HMAC, details: { hashAlg: SHA256 } } as const;
const ecc = {
  type: ECC,
  nameAlg: SHA256,
  objectAttributes: 0x40472,
  authPolicy: NONE,
  parameters: { symmetric: noCipher, scheme: ecdsa, curveID: 3, kdf: noScheme },
  unique: { x: NONE, y: NONE },
} as const;
const storage = {
  ...ecc,
  objectAttributes: 0x30472,
  parameters: { ...ecc.parameters, symmetric: aes, scheme: noScheme },
};
const attestation = { ...ecc, objectAttributes: 0x50472 };
const keyedHash = {
  type: KEYEDHASH,
  nameAlg: SHA256,
  objectAttributes: 0x40472,
  authPolicy: NONE,
  parameters: { scheme: hmac },
  unique: NONE,
} as const;
const pcrs = [{ hash: SHA256, pcrSelect: Uint8Array.of(0x81, 0, 1) }];
const noInput = { userAuth: NONE, data: NONE };

function createPrimary(inPublic: unknown, data: Uint8Array = NONE): Uint8Array {
  const request = { inSensitive: { userAuth: NONE, data }, inPublic, outsideInfo: NONE, creationPCR: pcrs };
  return cb(T.CreatePrimary, [OWNER], request);
}

// A persistent object needs no transient slot here, so a full TPM still finds out that there is none.
const NO_SLOT_NEEDED = /: [12]8b instead of 902/;

describe('swtpm answers the same to', () => {
  it('headers that are malformed', async () => {
    const headers = [
      '80010000000b0000017b',
      '80010000000c0000017b0008',
      '80020000000c0000017b0008',
      '80010000000a00000111',
    ];
    headers.push(
      '80030000000c0000017b0008',
      '00c40000000a0000017b',
      '00c10000000c0000017b0008',
      '80010000000affffffff',
    );
    headers.push('80020000000a00000165', '80020000000e0000016500000000', '80010000000a20000000');
    for (const header of headers) await both(header, Buffer.from(header, 'hex'));
    expect(unexplained()).toEqual([]);
  });

  it('each command with no, too few and wrong handles and without parameters', async () => {
    for (const { command } of full) {
      for (let n = 0; n <= 3; n++) {
        const handles = [OWNER, NULL, OWNER].slice(0, n);
        await both(`${command.name} with ${n} handles`, frame(command.code, handles, [], NONE));
        await both(`${command.name} with ${n} handles and a session`, frame(command.code, handles, [{}], NONE));
      }
      for (const handle of [0x80000000, 0x01000000, 0x81000000, 0x03000000, LOCKOUT, 24]) {
        const handles = command.handles.map(() => handle);
        await both(`${command.name} at 0x${handle.toString(16)}`, frame(command.code, handles, [{}], NONE));
      }
      await flushAll();
    }
    expect(unexplained()).toEqual([]);
  });

  it('commands without objects, well-formed and mutated', async () => {
    await mutate('GetRandom', cb(T.GetRandom, [], { bytesRequested: 8 }));
    await mutate('Hash', cb(T.Hash, [], { data: Uint8Array.of(1, 2, 3), hashAlg: SHA256, hierarchy: OWNER }));
    await mutate('StirRandom', cb(T.StirRandom, [], { inData: Uint8Array.of(1, 2, 3) }));
    await mutate('SelfTest', cb(T.SelfTest, [], { fullTest: true }));
    await mutate('PCR_Read', cb(T.PcrRead, [], { pcrSelectionIn: pcrs }));
    await mutate('PCR_Extend', cb(T.PcrExtend, [16], { digests: [{ hashAlg: SHA256, digest: new Uint8Array(32) }] }));
    await mutate('PCR_Event', cb(T.PcrEvent, [16], { eventData: Uint8Array.of(1, 2) }));
    await mutate('PCR_Reset', cb(T.PcrReset, [16]));
    await mutate('ReadClock', cb(T.ReadClock, []));
    await mutate('TestParms', cb(T.TestParms, [], { parameters: { type: ECC, parameters: ecc.parameters } }));
    const property = { capability: 6, property: 0x10d, propertyCount: 3 };
    await both('GetCapability', cb(T.GetCapability, [], property), true);
    expect(unexplained()).toEqual([]);
  });

  it('extends of every register in every bank, and the update counter agrees', async () => {
    const digests = [20, 32, 48, 64].map((size, i) => ({
      hashAlg: [4, 11, 12, 13][i],
      digest: new Uint8Array(size).fill(i),
    }));
    for (let index = 0; index < 24; index++) await both(`extend ${index}`, cb(T.PcrExtend, [index], { digests }));
    for (let index = 0; index < 24; index++) await both(`reset ${index}`, cb(T.PcrReset, [index]));
    await both('event', cb(T.PcrEvent, [1], { eventData: Uint8Array.of(1, 2, 3) }), true);
    for (const hash of [4, 11, 12, 13]) {
      for (const pcrSelect of [
        [0xff, 0, 0],
        [0, 0xff, 0],
        [0, 0, 0xff],
        [0xff, 0xff, 0xff],
      ]) {
        const pcrSelectionIn = [{ hash, pcrSelect: Uint8Array.from(pcrSelect) }];
        await both(`read ${hash} ${pcrSelect}`, cb(T.PcrRead, [], { pcrSelectionIn }), true);
      }
    }
    expect(unexplained()).toEqual([]);
  });

  it('policy commands in policy and trial sessions, and their digests agree', async () => {
    const S = 0x03000000;
    const zero = new Uint8Array(32);
    const name = Uint8Array.from([0, 11, ...zero]);
    const ticket = { tag: 0x8022, hierarchy: OWNER, digest: new Uint8Array(64) };
    const secret = { nonceTPM: NONE, cpHashA: NONE, policyRef: Uint8Array.of(1), expiration: 0 };
    const commands: [string, Uint8Array][] = [
      ['PolicyPCR', cb(T.PolicyPcr, [S], { pcrDigest: NONE, pcrs })],
      ['PolicyPCR with a digest', cb(T.PolicyPcr, [S], { pcrDigest: zero, pcrs })],
      ['PolicyAuthValue', cb(T.PolicyAuthValue, [S])],
      ['PolicyPassword', cb(T.PolicyPassword, [S])],
      ['PolicyCommandCode', cb(T.PolicyCommandCode, [S], { code: T.TPM_CC.Unseal })],
      ['PolicyCpHash', cb(T.PolicyCpHash, [S], { cpHashA: zero })],
      ['PolicyNameHash', cb(T.PolicyNameHash, [S], { nameHash: zero })],
      ['PolicyTemplate', cb(T.PolicyTemplate, [S], { templateHash: zero })],
      ['PolicyLocality', cb(T.PolicyLocality, [S], { locality: 3 })],
      ['PolicyNvWritten', cb(T.PolicyNvWritten, [S], { writtenSet: true })],
      ['PolicyOR', cb(T.PolicyOr, [S], { pHashList: [zero, new Uint8Array(32).fill(1)] })],
      ['PolicyPhysicalPresence', cb(T.PolicyPhysicalPresence, [S])],
      ['PolicySecret', cb(T.PolicySecret, [OWNER, S], secret)],
      [
        'PolicySecret that expires',
        cb(T.PolicySecret, [ENDORSEMENT, S], { ...secret, cpHashA: zero, expiration: 1000 }),
      ],
      ['PolicyCounterTimer', cb(T.PolicyCounterTimer, [S], { operandB: new Uint8Array(8), offset: 0, operation: 7 })],
      ['PolicyRestart', cb(T.PolicyRestart, [S])],
    ];
    const select = { objectName: name, newParentName: name, includeObject: true };
    commands.push(['PolicyDuplicationSelect', cb(T.PolicyDuplicationSelect, [S], select)]);
    const authorize = { approvedPolicy: zero, policyRef: Uint8Array.of(1), keySign: name, checkTicket: ticket };
    commands.push(['PolicyAuthorize', cb(T.PolicyAuthorize, [S], authorize)]);
    const session = { nonceCaller: new Uint8Array(16), encryptedSalt: NONE, symmetric: noCipher, authHash: SHA256 };
    for (const sessionType of [1, 3]) {
      const restart = async (): Promise<void> => {
        await flushAll();
        await prepare(cb(T.StartAuthSession, [NULL, NULL], { ...session, sessionType }));
      };
      for (const [label, command] of commands) {
        await restart();
        await both(label, command);
        await both(`the digest of ${label}`, cb(T.PolicyGetDigest, [S]), true);
        await mutate(label, command, restart);
      }
    }
    await flushAll();
    const start = { ...session, symmetric: aes, sessionType: 0 };
    await mutate('StartAuthSession', cb(T.StartAuthSession, [NULL, OWNER], start), flushAll);
    // An expiration of one second, or a comparison with a time of that size, which one of the two may have passed and the other not.
    expect(unexplained([/PolicySecret byte 41 \^ 1: /, /PolicyCounterTimer byte 2\d \^ /])).toEqual([]);
  }, 120_000);

  it('templates with every combination of attributes and schemes', async () => {
    const xor = { scheme: XOR, details: { hashAlg: SHA256, kdf: KDF1_SP800_108 } } as const;
    const ecdh = { scheme: ECDH, details: { hashAlg: SHA256 } } as const;
    for (const base of [0x40, 0x42, 0x50, 0x52, 0x72, 0x440, 0x840, 0x852, 0x60]) {
      for (const use of [0, 0x10000, 0x20000, 0x40000, 0x30000, 0x50000, 0x60000, 0x70000]) {
        const objectAttributes = base | use;
        const at = objectAttributes.toString(16);
        for (const symmetric of [noCipher, aes]) {
          for (const scheme of [noScheme, ecdsa, ecdh]) {
            const parameters = { ...ecc.parameters, symmetric, scheme };
            await both(
              `ECC ${at} ${symmetric.algorithm} ${scheme.scheme}`,
              createPrimary({ ...ecc, objectAttributes, parameters }),
            );
            await flushAll();
          }
        }
        for (const scheme of [noScheme, hmac, xor]) {
          for (const size of [0, 3, 65]) {
            const template = { ...keyedHash, objectAttributes, parameters: { scheme } };
            await both(`keyed hash ${at} ${scheme.scheme} ${size}`, createPrimary(template, new Uint8Array(size)));
            await flushAll();
          }
        }
        for (const size of [0, 16, 17]) {
          const template = { ...keyedHash, type: SYMCIPHER, objectAttributes, parameters: { sym: aes } };
          await both(`cipher ${at} ${size}`, createPrimary(template, new Uint8Array(size)));
          await flushAll();
        }
      }
    }
    expect(unexplained()).toEqual([]);
  }, 120_000);

  it('commands on objects, well-formed and mutated', async () => {
    const load = async (...templates: readonly unknown[]): Promise<void> => {
      await flushAll();
      for (const template of templates) await both('create a primary object', createPrimary(template));
    };
    for (const template of [storage, attestation, keyedHash])
      await mutate('CreatePrimary', createPrimary(template), flushAll);
    await load(storage);
    const creation = { inSensitive: noInput, inPublic: ecc, outsideInfo: NONE, creationPCR: [] };
    await mutate('Create', cb(T.Create, [0x80000000], creation));
    await load(storage, ecc, attestation);
    const [S, K, A] = [0x80000000, 0x80000001, 0x80000002];
    const zero = new Uint8Array(32);
    const ticket = { tag: 0x8024, hierarchy: NULL, digest: NONE };
    const qualified = { qualifyingData: Uint8Array.of(1, 2), inScheme: noScheme };
    await mutate('ReadPublic', cb(T.ReadPublic, [S]));
    await mutate('Sign', cb(T.Sign, [K], { digest: zero, inScheme: noScheme, validation: ticket }));
    await mutate('Sign, restricted', cb(T.Sign, [A], { digest: zero, inScheme: noScheme, validation: ticket }));
    await mutate('Quote', cb(T.Quote, [A], { ...qualified, PCRselect: pcrs }));
    await mutate('Quote by no key', cb(T.Quote, [NULL], { ...qualified, PCRselect: pcrs }));
    await mutate('Certify', cb(T.Certify, [S, A], qualified));
    await mutate('GetTime', cb(T.GetTime, [ENDORSEMENT, A], qualified));
    const signature = {
      sigAlg: ECDSA,
      signature: { hash: SHA256, signatureR: zero.map(() => 1), signatureS: zero.map(() => 2) },
    };
    await mutate('VerifySignature', cb(T.VerifySignature, [K], { digest: zero, signature }));
    const objectName = Uint8Array.from([0, 11, ...zero]);
    await mutate('MakeCredential', cb(T.MakeCredential, [S], { credential: Uint8Array.of(1), objectName }));
    const blobs = { credentialBlob: new Uint8Array(70), secret: new Uint8Array(68) };
    await mutate('ActivateCredential', cb(T.ActivateCredential, [K, S], blobs));
    await mutate('ECDH_ZGen', cb(T.EcdhZGen, [K], { inPoint: { x: zero, y: zero } }));
    for (const curveID of [3, 4, 5]) await both(`curve ${curveID}`, cb(T.EccParameters, [], { curveID }), true);
    await mutate('Unseal', cb(T.Unseal, [K]));
    await mutate('ObjectChangeAuth', cb(T.ObjectChangeAuth, [K, S], { newAuth: Uint8Array.of(1) }));
    await mutate('Duplicate', cb(T.Duplicate, [K, S], { encryptionKeyIn: NONE, symmetricAlg: noCipher }));
    await mutate('ContextSave', cb(T.ContextSave, [S]));
    await load(keyedHash);
    await mutate('MAC', cb(T.Mac, [S], { buffer: Uint8Array.of(1, 2), inScheme: ALG_NULL }));
    expect(unexplained([NO_SLOT_NEEDED])).toEqual([]);
  }, 120_000);

  it('external objects of every kind, and their names agree', async () => {
    await flushAll();
    const generator = await theirs.send(cb(T.EccParameters, [], { curveID: 3 }));
    const at = hex(generator).indexOf('6b17d1f2e12c4247');
    const x = Buffer.from(hex(generator).slice(at, at + 64), 'hex');
    const y = Buffer.from(hex(generator).slice(at + 68, at + 132), 'hex');
    const d = Uint8Array.from([...new Uint8Array(31), 1]);
    const own = { sensitiveType: ECC, authValue: NONE, seedValue: NONE, sensitive: d };
    for (const objectAttributes of [0, 0x40, 0x40040, 0x20040, 0x30040, 0x50040, 0x40042, 0x40052, 0x40840, 0x60000]) {
      for (const hierarchy of [OWNER, NULL, PLATFORM]) {
        for (const inPrivate of [undefined, own]) {
          for (const nameAlg of [SHA256, ALG_NULL]) {
            for (const scheme of [noScheme, ecdsa]) {
              const parameters = { ...ecc.parameters, scheme };
              const inPublic = { ...ecc, nameAlg, objectAttributes, parameters, unique: { x, y } };
              const label = `LoadExternal ${objectAttributes.toString(16)} ${hierarchy.toString(16)} ${nameAlg} ${scheme.scheme}`;
              await both(label, cb(T.LoadExternal, [], { inPrivate, inPublic, hierarchy }), true);
              await both(`ReadPublic of ${label}`, cb(T.ReadPublic, [0x80000000]), true);
              await flushAll();
            }
          }
        }
      }
    }
    expect(unexplained()).toEqual([]);
  });

  it('NV indexes of every kind: definition, use, locks, contents and names', async () => {
    const N = 0x01500002;
    const kinds = [
      ['ordinary', 0, 16],
      ['counter', 0x10, 8],
      ['bits', 0x20, 8],
      ['extend', 0x40, 32],
      ['PIN pass', 0x90, 8],
    ] as const;
    const undefine = async (): Promise<void> => {
      for (const hierarchy of [OWNER, PLATFORM]) await prepare(cb(T.NvUndefineSpace, [hierarchy, N]));
    };
    for (const [kind, type, dataSize] of kinds) {
      const attributes = type === 0x90 ? 0x00060092 : (0x80064006 | type) >>> 0;
      const publicInfo = { nvIndex: N, nameAlg: SHA256, attributes, authPolicy: NONE, dataSize };
      const pin = [{ hmac: Uint8Array.of(7) }];
      await both(`define ${kind}`, cb(T.NvDefineSpace, [OWNER], { auth: Uint8Array.of(7), publicInfo }));
      const commands: [string, Uint8Array][] = [
        ['read too early', cb(T.NvRead, [OWNER, N], { size: 4, offset: 0 })],
        ['write', cb(T.NvWrite, [OWNER, N], { data: Uint8Array.of(0, 0, 0), offset: 1 })],
        ['increment', cb(T.NvIncrement, [OWNER, N])],
        ['extend', cb(T.NvExtend, [OWNER, N], { data: Uint8Array.of(1) })],
        ['set bits', cb(T.NvSetBits, [OWNER, N], { bits: 5n })],
        ['read', cb(T.NvRead, [OWNER, N], { size: dataSize, offset: 0 })],
        ['read beyond', cb(T.NvRead, [OWNER, N], { size: dataSize, offset: 1 })],
        ['write by its own value', cb(T.NvWrite, [N, N], { data: new Uint8Array(8), offset: 0 }, pin)],
        [
          'certify by no key',
          cb(T.NvCertify, [NULL, OWNER, N], { qualifyingData: NONE, inScheme: noScheme, size: 4, offset: 0 }),
        ],
        ['read the public area', cb(T.NvReadPublic, [N])],
        ['lock reads', cb(T.NvReadLock, [OWNER, N])],
        ['lock writes', cb(T.NvWriteLock, [OWNER, N])],
        ['read the public area', cb(T.NvReadPublic, [N])],
        ['read when locked', cb(T.NvRead, [OWNER, N], { size: 4, offset: 0 })],
        ['write when locked', cb(T.NvWrite, [OWNER, N], { data: Uint8Array.of(1), offset: 1 })],
      ];
      for (const [label, command] of commands) await both(`${kind}: ${label}`, command, !label.startsWith('certify'));
      await undefine();
    }
    for (let bit = 0; bit < 32; bit++) {
      for (const authHandle of [OWNER, PLATFORM]) {
        const publicInfo = { nvIndex: N, nameAlg: SHA256, attributes: 0, authPolicy: NONE, dataSize: 8 };
        const command = cb(T.NvDefineSpace, [authHandle], { auth: NONE, publicInfo });
        new DataView(command.buffer).setUint32(command.length - 8, (0x00060006 ^ (2 ** bit)) >>> 0);
        await both(`NV_DefineSpace bit ${bit} by ${authHandle.toString(16)}`, command);
        await undefine();
      }
    }
    // swtpm answers "again" to the first use of a protected value after its start, because it must write that first.
    expect(unexplained([/instead of 922/])).toEqual([]);
  }, 120_000);

  it('hierarchy and lockout commands, well-formed and mutated', async () => {
    const enableAll = async (): Promise<void> => {
      for (const enable of [OWNER, ENDORSEMENT, T.TPM_RH.PLATFORM_NV]) {
        await prepare(cb(T.HierarchyControl, [PLATFORM], { enable, state: true }));
      }
    };
    await mutate('HierarchyControl', cb(T.HierarchyControl, [PLATFORM], { enable: OWNER, state: true }), enableAll);
    await mutate('ClearControl', cb(T.ClearControl, [PLATFORM], { disable: false }));
    await mutate(
      'SetPrimaryPolicy',
      cb(T.SetPrimaryPolicy, [OWNER], { authPolicy: new Uint8Array(32), hashAlg: SHA256 }),
    );
    const parameters = { newMaxTries: 32, newRecoveryTime: 10, lockoutRecovery: 10 };
    await mutate('DictionaryAttackParameters', cb(T.DictionaryAttackParameters, [LOCKOUT], parameters));
    await mutate('DictionaryAttackLockReset', cb(T.DictionaryAttackLockReset, [LOCKOUT]));
    for (const property of [0, 0x01000000, 0x02000000, 0x03000000, 0x40000000, 0x80000000, 0x81000000, 0x90000000]) {
      const request = { capability: 1, property, propertyCount: 100 };
      await both(`handles from ${property.toString(16)}`, cb(T.GetCapability, [], request), true);
    }
    for (const capability of [5, 9, 10]) {
      const request = { capability, property: capability === 5 ? 0 : 0x40000110, propertyCount: 100 };
      await both(`capability ${capability}`, cb(T.GetCapability, [], request), true);
    }
    expect(unexplained()).toEqual([]);
  });
});
