/**
 * A table of all policy elements against swtpm: the digest computed offline is the TPM's, the element authorises where it
 * is satisfied, and where it is not the TPM refuses. A type makes the table complete by element, a test by command.
 */
import { encode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CreatePrimary,
  commandByCode,
  commandParameterHash,
  createKey,
  createPrimary,
  Duplicate,
  extendPcr,
  type IssuedTicket,
  loadKey,
  type NvIndex,
  nameHash,
  nvDefine,
  nvIncrement,
  nvReadNumber,
  nvUndefine,
  nvWrite,
  type Policy,
  type PolicyElement,
  PolicyGetDigest,
  policyApproval,
  policyDigest,
  readPcrs,
  type SessionHash,
  SetPrimaryPolicy,
  satisfyPolicy,
  sealedTemplate,
  shareTpm,
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
  TPMA_OBJECT,
  Tpm,
  type TpmObject,
  TpmtHaOrNull,
  TpmtPublic,
  Unseal,
} from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm, type SwtpmTransport } from '../../src/swtpm.js';
import { describeWith, relaxLockout, type SwtpmServer, startSwtpm } from './swtpm-server.js';

const DATA = Uint8Array.of(1, 2, 3, 4, 5);
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const NONE = new Uint8Array(0);

type ElementType = PolicyElement['type'];

interface Row {
  /** The command that the element stands for. */
  readonly command: string;
  /** A policy with the element, satisfied as things are. */
  readonly policy: () => Policy | Promise<Policy>;
  /** Where the digest does not depend on the hash of the session. Default: all four. */
  readonly hashes?: readonly SessionHash[];
  /** Does what only this policy authorises. Default: unseals. */
  readonly authorises?: (policy: Policy) => Promise<unknown>;
  /** Why swtpm cannot satisfy the element. */
  readonly impossible?: string;
  /** A policy of the same digest that a trial session takes. Default: the same. */
  readonly tried?: () => Policy | Promise<Policy>;
  /** How it is not satisfied, and what the TPM then says. */
  readonly refusals: Readonly<Record<string, readonly [attempt: () => Promise<unknown>, number: number]>>;
}

describeWith(['swtpm'], 'every policy element with swtpm', () => {
  let server: SwtpmServer;
  let swtpm: SwtpmTransport;
  let tpm: Tpm;
  let srk: TpmObject;
  let signer: TpmObject;
  let stranger: TpmObject;
  let guarded: TpmObject;
  let counter: NvIndex;
  let nextIndex = 0x01800100;

  beforeAll(async () => {
    server = await startSwtpm();
    swtpm = await connectSwtpm(server);
    tpm = new Tpm(shareTpm(swtpm).connect(), { crypto: nodeCrypto });
    await relaxLockout(tpm);
    srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    signer = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
    stranger = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256'), hierarchy: 'null' });
    guarded = await createPrimary(tpm, { template: srkTemplate('ecc-p256'), hierarchy: 'endorsement', auth: 'guard' });
    counter = await nvDefine(tpm, { index: 0x01800010, type: 'counter' });
    await nvIncrement(tpm, counter);
  });
  afterAll(async () => {
    await tpm?.close();
    await swtpm?.close();
    await server?.stop();
  });

  /** A session in which `policy` has been replayed. */
  const opened = async (policy: Policy, onTicket?: (ticket: IssuedTicket) => void) => {
    const session = await startSession(tpm, { type: 'policy' });
    try {
      await satisfyPolicy(tpm, session, policy, onTicket ? { onTicket } : {});
    } catch (error) {
      await session.flush();
      throw error;
    }
    return session;
  };

  interface Use {
    /** What is replayed. Default: the policy itself. */
    readonly opening?: Policy;
    /** The authorization value that is given; the right one is `value`. */
    readonly auth?: string;
    readonly between?: () => Promise<unknown>;
  }

  /** Seals under `policy`, and opens by what is replayed. */
  const unsealing = async (policy: Policy, { opening = policy, auth = 'value', between }: Use = {}) => {
    const template = sealedTemplate({ policy: policyDigest(policy) });
    await using object = await loadKey(tpm, srk, await createKey(tpm, srk, { template, sealed: DATA, auth: 'value' }), {
      auth,
    });
    await using session = await opened(opening);
    await between?.();
    const { outData } = await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } });
    expect(outData).toEqual(DATA);
  };

  const creation = (template: TpmtPublic) => ({
    inSensitive: { userAuth: NONE, data: NONE },
    ...{ inPublic: template, outsideInfo: NONE, creationPCR: [] },
  });

  /** Creates a primary object as the owner, who is authorised by `policy`, by what is replayed. */
  const creating = async (policy: Policy, template = srkTemplate('ecc-p256')) => {
    const owner = { handle: TPM_RH.OWNER };
    const authPolicy = policyDigest(policy);
    await tpm.execute(SetPrimaryPolicy, { authHandle: owner, authPolicy, hashAlg: TPM_ALG.SHA256 });
    try {
      await using session = await opened(policy);
      const made = await tpm.execute(CreatePrimary, {
        primaryHandle: { ...owner, auth: session },
        ...creation(template),
      });
      expect(made.outPublic.type).toBe(template.type);
    } finally {
      await tpm.execute(SetPrimaryPolicy, { authHandle: owner, authPolicy: NONE, hashAlg: TPM_ALG.NULL });
    }
  };

  /** Writes an index that only `policy` lets be written, once, or again. */
  const writing = async (policy: Policy, times: number) => {
    const index = await nvDefine(tpm, { index: nextIndex++, size: 4, policy: policyDigest(policy) });
    try {
      for (let i = 0; i < times; i++) {
        await using session = await opened(policy);
        await nvWrite(tpm, index, DATA.slice(0, 4), { by: { ...index, name: index.name, auth: session } });
      }
    } finally {
      await nvUndefine(tpm, index);
    }
  };

  /** Duplicates an object whose policy allows that to `allowed`; the replay names `named`, by default the object itself. */
  const duplicating = async (allowed: TpmObject, newParentHandle: TpmObject, named?: TpmObject) => {
    const template = signingKeyTemplate('ecc-p256');
    const fixed = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent;
    const authPolicy = policyDigest([duplicationTo(allowed)]);
    const free = { ...template, objectAttributes: template.objectAttributes & ~fixed, authPolicy };
    await using object = await loadKey(tpm, srk, await createKey(tpm, srk, { template: free }));
    await using session = await opened([{ ...duplicationTo(allowed), objectName: (named ?? object).name }]);
    const wrapping = { encryptionKeyIn: NONE, symmetricAlg: { algorithm: TPM_ALG.NULL } } as const;
    const objectHandle = { ...object, auth: session };
    const { duplicate } = await tpm.execute(Duplicate, { objectHandle, newParentHandle, ...wrapping });
    expect(duplicate.length).toBeGreaterThan(0);
  };

  const atLocality = async (locality: number, work: () => Promise<unknown>) => {
    await swtpm.control.setLocality(locality);
    try {
      await work();
    } finally {
      await swtpm.control.setLocality(0);
    }
  };

  const sign = (message: Uint8Array) => signWith(tpm, signer, message);
  const pcrs = async () => ({ type: 'pcr', values: await readPcrs(tpm, { sha256: [0, 10], sha1: [23] }) }) as const;
  const changePcr = () => extendPcr(tpm, 10, { sha256: new Uint8Array(32).fill(1) });
  const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const comparedCount = async (difference: bigint) => {
    const operand = new Uint8Array(8);
    new DataView(operand.buffer).setBigUint64(0, (await nvReadNumber(tpm, counter)) + difference);
    return { type: 'nv', index: counter, operand, operation: TPM_EO.UNSIGNED_GE } as const;
  };
  const holding = async (policy: Policy, work: (element: PolicyElement) => Promise<unknown>, approved = policy) => {
    const index = await nvDefine(tpm, { index: nextIndex++, size: 34 });
    try {
      await nvWrite(tpm, index, encode(TpmtHaOrNull, { hashAlg: TPM_ALG.SHA256, digest: policyDigest(policy) }));
      await work({ type: 'authorize-nv', index, approved });
    } finally {
      await nvUndefine(tpm, index);
    }
  };
  const issued = async (element: PolicyElement): Promise<IssuedTicket> => {
    let ticket: IssuedTicket | undefined;
    await using _session = await opened([element], (given) => {
      ticket = given;
    });
    if (!ticket) throw new Error('the TPM gave no ticket');
    return ticket;
  };
  const signed = { type: 'signed', policyRef: text('reference') } as const;
  const bySigner = (expiration = 0): PolicyElement => ({ ...signed, authority: signer.public, sign, expiration });
  const byGuard = (guess: string, expiration = 0): PolicyElement => {
    const authority = { handle: guarded.handle, name: guarded.name, authValue: text(guess) };
    return { type: 'secret', authority, policyRef: text('reference'), expiration };
  };
  const approval = async (policy: Policy, key: TpmObject): Promise<PolicyElement> => {
    const policyRef = text('reference');
    const signature = await signWith(tpm, key, policyApproval(policy, { policyRef }));
    return { type: 'authorize', authority: signer.public, policyRef, approved: { policy, signature } };
  };
  const code = (value: number): PolicyElement => ({ type: 'command-code', code: value });
  const refusal =
    (policy: () => Policy | Promise<Policy>, use: Use | (() => Promise<Use>) = {}) =>
    async () =>
      unsealing(await policy(), typeof use === 'function' ? await use() : use);

  const ownersCreation = () => ({
    type: 'cp-hash' as const,
    cpHash: commandParameterHash(CreatePrimary, { primaryHandle: TPM_RH.OWNER, ...creation(srkTemplate('ecc-p256')) }),
  });
  const ownersTemplate = () => ({
    type: 'template' as const,
    templateHash: nodeCrypto.hash(TPM_ALG.SHA256, encode(TpmtPublic, srkTemplate('ecc-p256'))),
  });

  const table: Readonly<Record<ElementType, Row>> = {
    pcr: {
      command: 'TPM2_PolicyPCR',
      policy: async () => [await pcrs()],
      refusals: {
        'a PCR that changed after it was checked': [
          refusal(async () => [await pcrs()], { between: changePcr }),
          TPM_RC.PCR_CHANGED,
        ],
        'a PCR that changed before': [
          async () => {
            const policy: Policy = [await pcrs()];
            await changePcr();
            await unsealing(policy);
          },
          TPM_RC.VALUE,
        ],
      },
    },
    'pcr-digest': {
      command: 'TPM2_PolicyPCR',
      hashes: ['sha256'],
      policy: async () => [
        { type: 'pcr-digest', pcrs: { sha256: [0] }, digest: nodeCrypto.hash(TPM_ALG.SHA256, new Uint8Array(32)) },
      ],
      refusals: {
        'another digest': [
          refusal(() => [{ type: 'pcr-digest', pcrs: { sha256: [0] }, digest: new Uint8Array(32) }]),
          TPM_RC.VALUE,
        ],
      },
    },
    'auth-value': {
      command: 'TPM2_PolicyAuthValue',
      policy: () => [{ type: 'auth-value' }],
      refusals: { 'a wrong value': [refusal(() => [{ type: 'auth-value' }], { auth: 'wrong' }), TPM_RC.AUTH_FAIL] },
    },
    password: {
      command: 'TPM2_PolicyPassword',
      policy: () => [{ type: 'password' }],
      refusals: { 'a wrong value': [refusal(() => [{ type: 'password' }], { auth: 'wrong' }), TPM_RC.AUTH_FAIL] },
    },
    'command-code': {
      command: 'TPM2_PolicyCommandCode',
      policy: () => [code(TPM_CC.Unseal)],
      refusals: { 'another command': [refusal(() => [code(TPM_CC.ObjectChangeAuth)]), TPM_RC.POLICY_CC] },
    },
    secret: {
      command: 'TPM2_PolicySecret',
      policy: () => [byGuard('guard', 60)],
      refusals: {
        'a wrong secret': [
          refusal(
            () => [byGuard('guard')],
            async () => ({ opening: [byGuard('wrong')] }),
          ),
          TPM_RC.BAD_AUTH,
        ],
        'a proof that has expired': [
          refusal(() => [byGuard('guard', 1)], { between: () => wait(1300) }),
          TPM_RC.EXPIRED,
        ],
      },
    },
    signed: {
      command: 'TPM2_PolicySigned',
      policy: () => [bySigner(60)],
      refusals: {
        'the signature of another key': [
          refusal(
            () => [bySigner()],
            async () => ({
              opening: [{ ...signed, authority: signer.public, sign: (message) => signWith(tpm, stranger, message) }],
            }),
          ),
          TPM_RC.SIGNATURE,
        ],
        'a signature for another session': [
          refusal(
            () => [bySigner()],
            async () => ({
              opening: [
                {
                  ...signed,
                  authority: signer.public,
                  sign: (message) => sign(message.map((byte, i) => (i ? byte : ~byte))),
                },
              ],
            }),
          ),
          TPM_RC.SIGNATURE,
        ],
        'a proof that has expired': [refusal(() => [bySigner(1)], { between: () => wait(1300) }), TPM_RC.EXPIRED],
        'a proof for another command': [
          refusal(() => [{ ...signed, authority: signer.public, sign, cpHash: new Uint8Array(32).fill(1) }]),
          TPM_RC.POLICY_FAIL,
        ],
      },
    },
    ticket: {
      command: 'TPM2_PolicyTicket',
      policy: async () => [{ type: 'ticket', ...(await issued(bySigner(-60))) }],
      tried: () => [bySigner()], // a trial session takes no tickets (Part 3, section 23.5)
      hashes: ['sha256'],
      authorises: async (policy) => {
        await unsealing([bySigner()], { opening: policy });
        const bySecret: Policy = [{ type: 'ticket', ...(await issued(byGuard('guard', -60))) }];
        expect(policyDigest(bySecret)).toEqual(policyDigest([byGuard('')]));
        await unsealing([byGuard('')], { opening: bySecret });
        await unsealing([byGuard('')], { opening: bySecret }); // as often as it holds
      },
      refusals: {
        'another reference': [
          refusal(
            () => [bySigner()],
            async () => ({
              opening: [{ type: 'ticket', ...(await issued(bySigner(-60))), policyRef: text('other') }],
            }),
          ),
          TPM_RC.TICKET,
        ],
        'a ticket that has expired': [
          refusal(
            () => [bySigner()],
            async () => {
              const ticket = await issued(bySigner(-1));
              await wait(1300);
              return { opening: [{ type: 'ticket', ...ticket }] };
            },
          ),
          TPM_RC.EXPIRED,
        ],
      },
    },
    authorize: {
      command: 'TPM2_PolicyAuthorize',
      hashes: ['sha256'], // an approval is of one digest
      policy: async () => [await approval([{ type: 'auth-value' }, await pcrs()], signer)],
      refusals: {
        'an approval by another key': [
          refusal(async () => [await approval([{ type: 'auth-value' }], stranger)]),
          TPM_RC.SIGNATURE,
        ],
        'a policy other than the approved one': [
          refusal(
            async () => [await approval([{ type: 'auth-value' }], signer)],
            async () => {
              const element = await approval([{ type: 'auth-value' }], signer);
              if (element.type !== 'authorize' || !element.approved) throw new Error('no approval');
              return { opening: [{ ...element, approved: { ...element.approved, policy: [code(TPM_CC.Unseal)] } }] };
            },
          ),
          TPM_RC.SIGNATURE,
        ],
      },
    },
    or: {
      command: 'TPM2_PolicyOR',
      policy: async () => [
        { type: 'auth-value' },
        {
          type: 'or',
          branches: [[{ type: 'pcr', values: { sha256: { 0: DATA } } }], [await pcrs()], [code(TPM_CC.Sign)]],
        },
        code(TPM_CC.Unseal),
      ],
      refusals: {
        'a branch that is none of them': [
          async () => {
            const branches: readonly Policy[] = [[code(TPM_CC.Sign)], [code(TPM_CC.Quote)]];
            await using session = await opened([code(TPM_CC.Unseal)]);
            const pHashList = branches.map((branch) => policyDigest(branch));
            const { PolicyOr } = await import('../../src/index.js');
            await tpm.execute(PolicyOr, { policySession: session, pHashList });
          },
          TPM_RC.VALUE,
        ],
      },
    },
    'nv-written': {
      command: 'TPM2_PolicyNvWritten',
      policy: () => [{ type: 'nv-written', written: false }],
      authorises: (policy) => writing(policy, 1),
      refusals: {
        'an index that has been written': [
          () => writing([{ type: 'nv-written', written: false }], 2),
          TPM_RC.POLICY_FAIL,
        ],
        'an index that has not': [() => writing([{ type: 'nv-written', written: true }], 1), TPM_RC.POLICY_FAIL],
      },
    },
    'cp-hash': {
      command: 'TPM2_PolicyCpHash',
      hashes: ['sha256'],
      policy: () => [ownersCreation()],
      authorises: (policy) => creating(policy),
      refusals: {
        'other parameters': [() => creating([ownersCreation()], signingKeyTemplate('ecc-p256')), TPM_RC.POLICY_FAIL],
      },
    },
    'name-hash': {
      command: 'TPM2_PolicyNameHash',
      hashes: ['sha256'],
      policy: () => [{ type: 'name-hash', nameHash: nameHash([{ handle: TPM_RH.OWNER }]) }],
      authorises: (policy) => creating(policy),
      refusals: {
        'other handles': [
          () => creating([{ type: 'name-hash', nameHash: nameHash([{ handle: TPM_RH.ENDORSEMENT }]) }]),
          TPM_RC.POLICY_FAIL,
        ],
      },
    },
    template: {
      command: 'TPM2_PolicyTemplate',
      hashes: ['sha256'],
      policy: () => [ownersTemplate()],
      authorises: (policy) => creating(policy),
      refusals: {
        'another template': [() => creating([ownersTemplate()], signingKeyTemplate('ecc-p256')), TPM_RC.POLICY_FAIL],
      },
    },
    locality: {
      command: 'TPM2_PolicyLocality',
      policy: () => [{ type: 'locality', locality: TPMA_LOCALITY.LOC_ZERO | TPMA_LOCALITY.LOC_THREE }],
      authorises: async (policy) => {
        await unsealing(policy);
        await atLocality(3, () => unsealing(policy));
      },
      refusals: {
        'another locality': [refusal(() => [{ type: 'locality', locality: TPMA_LOCALITY.LOC_THREE }]), TPM_RC.LOCALITY],
        'a locality that was left': [
          () =>
            atLocality(2, () =>
              unsealing([{ type: 'locality', locality: TPMA_LOCALITY.LOC_TWO }], {
                between: () => swtpm.control.setLocality(1),
              }),
            ),
          TPM_RC.LOCALITY,
        ],
      },
    },
    'physical-presence': {
      command: 'TPM2_PolicyPhysicalPresence',
      policy: () => [{ type: 'physical-presence' }],
      impossible: 'swtpm has no way to assert physical presence; its refusal names just that',
      refusals: {
        'physical presence that nobody asserts': [refusal(() => [{ type: 'physical-presence' }]), TPM_RC.PP],
      },
    },
    'duplication-select': {
      command: 'TPM2_PolicyDuplicationSelect',
      policy: () => [duplicationTo(srk)],
      authorises: () => duplicating(srk, srk),
      refusals: {
        'another new parent': [() => duplicating(guarded, srk), TPM_RC.POLICY_FAIL],
        'another object': [() => duplicating(srk, srk, signer), TPM_RC.POLICY_FAIL],
      },
    },
    nv: {
      command: 'TPM2_PolicyNV',
      policy: async () => [await comparedCount(0n)],
      refusals: { 'a comparison that fails': [refusal(async () => [await comparedCount(1n)]), TPM_RC.POLICY] },
    },
    'counter-timer': {
      command: 'TPM2_PolicyCounterTimer',
      policy: () => [
        { type: 'counter-timer', operand: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1), operation: TPM_EO.UNSIGNED_GE },
      ],
      refusals: {
        'a time that is not yet': [
          refusal(() => [
            { type: 'counter-timer', offset: 8, operand: new Uint8Array(8).fill(0x7f), operation: TPM_EO.UNSIGNED_GE },
          ]),
          TPM_RC.POLICY,
        ],
      },
    },
    'authorize-nv': {
      command: 'TPM2_PolicyAuthorizeNV',
      policy: async () => {
        const index = await held();
        return [{ type: 'authorize-nv', index, approved: [code(TPM_CC.Unseal)] }];
      },
      hashes: ['sha256'], // the index holds one digest
      refusals: {
        'a policy other than the one in the index': [
          () => holding([code(TPM_CC.Unseal)], (element) => unsealing([element]), [code(TPM_CC.Sign)]),
          TPM_RC.VALUE,
        ],
      },
    },
  };

  const duplicationTo = (parent: TpmObject) => ({
    type: 'duplication-select' as const,
    ...{ objectName: NONE, newParentName: parent.name, includeObject: false },
  });
  let holder: NvIndex | undefined;
  const held = async () => {
    if (holder) return holder;
    holder = await nvDefine(tpm, { index: nextIndex++, size: 34 });
    const digest = policyDigest([code(TPM_CC.Unseal)]);
    await nvWrite(tpm, holder, encode(TpmtHaOrNull, { hashAlg: TPM_ALG.SHA256, digest }));
    return holder;
  };

  it('covers every policy command of the specification', () => {
    const commands = [...commandByCode.values()]
      .map((command): string => command.name)
      .filter((name) => name.startsWith('TPM2_Policy'));
    const others = ['TPM2_PolicyGetDigest', 'TPM2_PolicyRestart', 'TPM2_Policy_AC_SendSelect']; // no conditions, and one that no TPM has
    const covered = new Set([...Object.values(table).map(({ command }) => command), ...others]);
    expect([...covered].sort()).toEqual(commands.sort());
  });

  describe.each(Object.keys(table) as ElementType[])('%s', (type) => {
    const row = table[type];
    const { hashes = ['sha1', 'sha256', 'sha384', 'sha512'] } = row;

    it(`has the digest that ${row.command} computes, in a trial and for real`, async () => {
      const policy = await row.policy();
      expect(policy.some((element) => element.type === type)).toBe(true);
      for (const hash of hashes) {
        await using trial = await startSession(tpm, { type: 'trial', hash });
        await satisfyPolicy(tpm, trial, (await row.tried?.()) ?? policy);
        const tried = await tpm.execute(PolicyGetDigest, { policySession: trial });
        expect(policyDigest(policy, hash)).toEqual(tried.policyDigest);
        await using session = await startSession(tpm, { type: 'policy', hash });
        await satisfyPolicy(tpm, session, policy);
        const replayed = await tpm.execute(PolicyGetDigest, { policySession: session });
        expect(policyDigest(policy, hash)).toEqual(replayed.policyDigest);
      }
    });

    const { impossible } = row;
    if (impossible === undefined) {
      it('authorises where it is satisfied', async () => {
        const policy = await row.policy();
        await (row.authorises ?? unsealing)(policy);
      });
    }

    it.each(Object.keys(row.refusals))(
      `refuses %s${impossible === undefined ? '' : ` (${impossible})`}`,
      async (why) => {
        const [attempt, number] = row.refusals[why] ?? [];
        const error = await attempt?.().catch((caught: unknown) => caught);
        expect(error).toMatchObject({ name: 'TpmError', code: 'response', response: { number } });
      },
    );
  });
});
