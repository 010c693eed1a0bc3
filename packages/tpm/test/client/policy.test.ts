/** Policies: digests computed offline against those of swtpm's trial sessions, and replayed for real use. */
import { encode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  createPrimary,
  extendPcr,
  loadKey,
  type NvIndex,
  nvDefine,
  nvIncrement,
  nvReadNumber,
  nvUndefine,
  nvWrite,
  type Policy,
  PolicyGetDigest,
  PolicyRestart,
  password,
  persist,
  policyApproval,
  policyDigest,
  readPcrs,
  satisfyPolicy,
  seal,
  sealedTemplate,
  signingKeyTemplate,
  signWith,
  srkTemplate,
  startSession,
  TPM_ALG,
  TPM_CC,
  TPM_EO,
  TPM_RC,
  TPM_RH,
  TPMA_LOCALITY,
  Tpm,
  type TpmObject,
  TpmtHaOrNull,
  type TpmtPublic,
  unseal,
} from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, relaxLockout, type SwtpmServer, startSwtpm } from './swtpm-server.js';

const DATA = Uint8Array.of(1, 2, 3, 4, 5);
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
const reference = new TextEncoder().encode('a reference');

describe('policy digests', () => {
  it('give the EK policies A and B of the TCG EK Credential Profile', () => {
    const a: Policy = [{ type: 'secret', authority: { handle: TPM_RH.ENDORSEMENT } }];
    expect(policyDigest(a)).toEqual(hex('837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa'));
    expect(policyDigest(a, 'sha384')).toEqual(
      hex('8bbf2266537c171cb56e403c4dc1d4b64f432611dc386e6f532050c3278c930e143e8bb1133824ccb431053871c6db53'),
    );
  });

  it('give zeros for the empty policy, in the size of the hash', () => {
    expect(policyDigest([], 'sha512')).toEqual(new Uint8Array(64));
  });

  it('refuse an OR of one branch and of nine', () => {
    for (const count of [1, 9]) {
      const branches = Array.from({ length: count }, (): Policy => [{ type: 'auth-value' }]);
      expect(() => policyDigest([{ type: 'or', branches }])).toThrow(expect.objectContaining({ code: 'usage' }));
    }
  });
});

describeWith(['swtpm'], 'policies with swtpm', () => {
  let server: SwtpmServer;
  let tpm: Tpm;
  let srk: TpmObject;
  let signer: TpmObject;
  let counter: NvIndex;

  beforeAll(async () => {
    server = await startSwtpm();
    tpm = new Tpm(await connectSwtpm(server), { crypto: nodeCrypto });
    await relaxLockout(tpm);
    // swtpm has room for three transient objects, so the keys of all tests are persistent.
    srk = await persistent(tpm, srkTemplate('ecc-p256'), 0x81000001);
    signer = await persistent(tpm, signingKeyTemplate('ecc-p256'), 0x81000002);
    counter = await nvDefine(tpm, { index: 0x01800010, type: 'counter' });
    await nvIncrement(tpm, counter);
  });
  afterAll(async () => {
    await tpm?.close();
    await server?.stop();
  });

  const sign = (message: Uint8Array) => signWith(tpm, signer, message);
  const pcrs = async () => ({ type: 'pcr', values: await readPcrs(tpm, { sha256: [0, 7], sha1: [23] }) }) as const;
  const count = async (difference: bigint) => {
    const operand = new Uint8Array(8);
    new DataView(operand.buffer).setBigUint64(0, (await nvReadNumber(tpm, counter)) + difference);
    return operand;
  };

  const policies: Readonly<Record<string, () => Policy | Promise<Policy>>> = {
    PCR: async () => [await pcrs()],
    AuthValue: () => [{ type: 'auth-value' }],
    Password: () => [{ type: 'password' }],
    CommandCode: () => [{ type: 'command-code', code: TPM_CC.Unseal }],
    'Secret of a hierarchy': () => [{ type: 'secret', authority: { handle: TPM_RH.OWNER }, policyRef: reference }],
    'Secret of an object with an expiration': () => [{ type: 'secret', authority: srk, expiration: 60 }],
    Signed: () => [{ type: 'signed', authority: signer.public, policyRef: reference, sign, expiration: -30 }],
    Authorize: async () => {
      const policy: Policy = [{ type: 'auth-value' }, await pcrs()];
      const signature = await sign(policyApproval(policy, { policyRef: reference }));
      return [{ type: 'authorize', authority: signer.public, policyRef: reference, approved: { policy, signature } }];
    },
    NvWritten: () => [{ type: 'nv-written', written: true }],
    CpHash: () => [{ type: 'cp-hash', cpHash: new Uint8Array(32).fill(7) }],
    NameHash: () => [{ type: 'name-hash', nameHash: new Uint8Array(32).fill(8) }],
    Template: () => [{ type: 'template', templateHash: new Uint8Array(32).fill(9) }],
    Locality: () => [{ type: 'locality', locality: TPMA_LOCALITY.LOC_ZERO | TPMA_LOCALITY.LOC_THREE }],
    PhysicalPresence: () => [{ type: 'physical-presence' }],
    'DuplicationSelect without the object': () => [
      { type: 'duplication-select', objectName: srk.name, newParentName: signer.name, includeObject: false },
    ],
    'DuplicationSelect with the object': () => [
      { type: 'duplication-select', objectName: srk.name, newParentName: signer.name, includeObject: true },
    ],
    NV: async () => [
      {
        type: 'nv',
        index: counter,
        operand: await count(0n),
        operation: TPM_EO.UNSIGNED_GE,
        by: { handle: TPM_RH.OWNER },
      },
    ],
    CounterTimer: () => [
      { type: 'counter-timer', operand: new Uint8Array(8), offset: 0, operation: TPM_EO.UNSIGNED_GE },
    ],
    'OR of three after AuthValue, and CommandCode behind it': async () => [
      { type: 'auth-value' },
      {
        type: 'or',
        branches: [
          [{ type: 'pcr', values: { sha256: { 0: new Uint8Array(32).fill(1) } } }],
          [await pcrs(), { type: 'locality', locality: 1 }],
          [{ type: 'physical-presence' }],
        ],
      },
      { type: 'command-code', code: TPM_CC.Unseal },
    ],
    'OR in an OR': async () => {
      const closed: Policy = [{ type: 'pcr', values: { sha256: { 0: new Uint8Array(32).fill(1) } } }];
      const inner: Policy = [{ type: 'or', branches: [closed, [await pcrs()]] }];
      return [{ type: 'or', branches: [closed, inner] }];
    },
  };

  it.each(Object.keys(policies))('compute offline the digest that the TPM computes for %s', async (name) => {
    const policy = (await policies[name]?.()) ?? [];
    for (const hash of ['sha256', 'sha384'] as const) {
      // An approval is of one digest, so it holds for one hash.
      if (name === 'Authorize' && hash !== 'sha256') continue;
      if (/Hash|Template/.test(name) && hash !== 'sha256') continue;
      await using trial = await startSession(tpm, { type: 'trial', hash });
      await satisfyPolicy(tpm, trial, policy);
      const { policyDigest: computed } = await tpm.execute(PolicyGetDigest, { policySession: trial });
      expect(policyDigest(policy, hash)).toEqual(computed);
    }
  });

  const usable = ['PCR', 'AuthValue', 'Password', 'CommandCode', 'Secret of a hierarchy', 'Signed', 'Authorize'].concat(
    ['Secret of an object with an expiration', 'Locality', 'NV', 'CounterTimer', 'OR in an OR'],
    ['OR of three after AuthValue, and CommandCode behind it'],
  );
  it.each(usable)('unseal under %s', async (name) => {
    const policy = (await policies[name]?.()) ?? [];
    const sealed = await seal(tpm, { parent: srk, data: DATA, policy, auth: 'value' });
    expect(await unseal(tpm, { parent: srk, sealed, policy, auth: 'value' })).toEqual(DATA);
  });

  it('do not unseal after a PCR has changed, and say which parameter the TPM blames', async () => {
    const policy: Policy = [{ type: 'pcr', values: await readPcrs(tpm, { sha256: [16] }) }];
    const sealed = await seal(tpm, { parent: srk, data: DATA, policy });
    await extendPcr(tpm, 16, { sha256: new Uint8Array(32).fill(1) });
    const attempt = unseal(tpm, { parent: srk, sealed, policy });
    await expect(attempt).rejects.toMatchObject({ code: 'response', response: { number: TPM_RC.VALUE } });
  });

  it('do not unseal by the value alone, nor under another policy, nor with a wrong value', async () => {
    const policy: Policy = [{ type: 'auth-value' }];
    const sealed = await seal(tpm, { parent: srk, data: DATA, policy, auth: 'value' });
    const refused = (number: number) => ({ code: 'response', response: { number } });
    const byValue = unseal(tpm, { parent: srk, sealed, auth: 'value' });
    await expect(byValue).rejects.toMatchObject(refused(TPM_RC.AUTH_UNAVAILABLE));
    const other = unseal(tpm, {
      parent: srk,
      sealed,
      auth: 'value',
      policy: [{ type: 'command-code', code: TPM_CC.Unseal }],
    });
    await expect(other).rejects.toMatchObject(refused(TPM_RC.POLICY_FAIL));
    const wrong = unseal(tpm, { parent: srk, sealed, auth: 'wrong', policy });
    await expect(wrong).rejects.toMatchObject(refused(TPM_RC.AUTH_FAIL));
  });

  it('take the branch that the caller chooses', async () => {
    const branches: readonly Policy[] = [
      [{ type: 'auth-value' }],
      [{ type: 'password' }, { type: 'locality', locality: 1 }],
    ];
    const policy: Policy = [{ type: 'or', branches }];
    const sealed = await seal(tpm, { parent: srk, data: DATA, policy, auth: 'v' });
    for (const branch of [0, 1]) {
      const opened = await unseal(tpm, { parent: srk, sealed, policy, auth: 'v', choose: () => branch });
      expect(opened).toEqual(DATA);
    }
    const none = unseal(tpm, { parent: srk, sealed, policy, auth: 'v', choose: () => 2 });
    await expect(none).rejects.toMatchObject({ code: 'usage' });
  });

  it('refuse an approval by another key and an element without its signer', async () => {
    await using other = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256'), hierarchy: 'null' });
    const policy: Policy = [{ type: 'auth-value' }];
    const signature = await signWith(tpm, other, policyApproval(policy));
    const authorised: Policy = [{ type: 'authorize', authority: signer.public, approved: { policy, signature } }];
    const sealed = await seal(tpm, { parent: srk, data: DATA, policy: authorised });
    const forged = unseal(tpm, { parent: srk, sealed, policy: authorised });
    await expect(forged).rejects.toMatchObject({ response: { number: TPM_RC.SIGNATURE } });
    const lacking: Policy = [{ type: 'authorize', authority: signer.public }];
    await expect(unseal(tpm, { parent: srk, sealed, policy: lacking })).rejects.toMatchObject({ code: 'usage' });
  });

  it('let a policy session authorise one command after another, each time replayed', async () => {
    const policy: Policy = [{ type: 'auth-value' }];
    const sealed = await createKey(tpm, srk, {
      template: sealedTemplate({ policy: policyDigest(policy) }),
      sealed: DATA,
      auth: 'value',
    });
    await using object = await loadKey(tpm, srk, sealed, { auth: 'value' });
    await using session = await startSession(tpm, { type: 'policy', salt: srk });
    const { Unseal } = await import('../../src/index.js');
    for (let i = 0; i < 3; i++) {
      await satisfyPolicy(tpm, session, policy);
      const { outData } = await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } });
      expect(outData).toEqual(DATA);
    }
    await satisfyPolicy(tpm, session, [{ type: 'password' }]);
    await tpm.execute(PolicyRestart, { sessionHandle: session });
    const bare = tpm.execute(Unseal, { itemHandle: { ...object, auth: session } });
    await expect(bare).rejects.toMatchObject({ response: { number: TPM_RC.POLICY_FAIL } });
  });

  it('follow the policy whose digest stands in an NV index', async () => {
    const policy: Policy = [{ type: 'command-code', code: TPM_CC.Unseal }];
    const holder = await nvDefine(tpm, { index: 0x01800011, size: 34 });
    await nvWrite(tpm, holder, encode(TpmtHaOrNull, { hashAlg: TPM_ALG.SHA256, digest: policyDigest(policy) }));
    const byIndex: Policy = [{ type: 'authorize-nv', index: holder, approved: policy }];
    const sealed = await seal(tpm, { parent: srk, data: DATA, policy: byIndex });
    expect(await unseal(tpm, { parent: srk, sealed, policy: byIndex })).toEqual(DATA);
    const otherwise: Policy = [{ type: 'authorize-nv', index: holder, approved: [{ type: 'auth-value' }] }];
    const attempt = unseal(tpm, { parent: srk, sealed, policy: otherwise });
    await expect(attempt).rejects.toMatchObject({ code: 'response' });
    await nvUndefine(tpm, holder);
  });

  it('work with passwords for the authority of a secret', async () => {
    await using key = await createPrimary(tpm, {
      template: srkTemplate('ecc-p256'),
      auth: 'authority',
      hierarchy: 'null',
    });
    const secret = (auth: string): Policy => [
      { type: 'secret', authority: { handle: key.handle, name: key.name, auth: password(auth) } },
    ];
    const sealed = await seal(tpm, { parent: srk, data: DATA, policy: secret('') });
    expect(await unseal(tpm, { parent: srk, sealed, policy: secret('authority') })).toEqual(DATA);
    await expect(unseal(tpm, { parent: srk, sealed, policy: secret('nobody') })).rejects.toMatchObject({
      code: 'response',
    });
  });
});

async function persistent(tpm: Tpm, template: TpmtPublic, handle: number): Promise<TpmObject> {
  await using key = await createPrimary(tpm, { template });
  return await persist(tpm, key, handle);
}
